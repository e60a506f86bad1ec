//go:build !linux

package discover

import "errors"

// A watcher is what Linux has: elsewhere the folder is polled.
type watcher struct{}

func newWatcher() (*watcher, error) {
	return nil, errors.ErrUnsupported
}

func (*watcher) watchRoot(string) error           { return nil }
func (*watcher) watchContainer(_, _ string) error { return nil }
func (*watcher) run(func(id string))              {}
func (*watcher) close()                           {}
