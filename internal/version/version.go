// Package version says which build this is.
//
// The Makefile sets Version and Commit by the linker; a plain go build leaves
// the defaults, and Commit then comes from what the Go tool recorded.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set with -ldflags "-X mesoscope/internal/version.Version=…".
var (
	Version = "0.1.0"
	Commit  = ""
)

// String is what --version prints behind the name:
// "0.1.0 (commit 4f66a1b) go1.26.8 linux/amd64".
func String() string {
	return fmt.Sprintf("%s (commit %s) %s %s/%s", Version, Revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// Revision is the commit of this build, or "unknown".
func Revision() string {
	if Commit != "" {
		return Commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 7 {
				return s.Value[:7]
			}
		}
	}
	return "unknown"
}
