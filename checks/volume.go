package checks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

var volumeKind = Kind{
	Summary: "Volume: a file system is mounted there, answers, may be written to, has space and inodes (Linux)",
	Target:  "PATH",
	Example: `check volume /srv/shop --mount-point --fstype ext4 --canary --critical disk=95`,
	Options: []Option{
		{Name: "mount-point", Help: "PATH must be a mount point itself: else what is written to it lands on the disk below."},
		{Name: "source", Placeholder: "TEXT", Help: "What must be mounted, as /dev/sdb1 or nfs1:/export.", parse: parseText},
		{Name: "fstype", Placeholder: "NAME", Help: "Its file system, as ext4 or nfs4.", parse: parseText},
		{Name: "read-only", Help: "It may be read-only."},
		{Name: "canary", Help: "Write 4 KiB into a new file in PATH, sync, read and remove it."},
	},
	Metrics: []Limits{
		{Name: "disk", Help: "percent used of what everybody may use", Warning: "80", Critical: "90"},
		{Name: "free", Help: "bytes that everybody may use"},
		{Name: "inodes", Help: "percent used of the inodes", Warning: "80", Critical: "90"},
		{Name: "write", Help: "--canary: seconds"},
	},
	Signals: []Signal{
		{"missing", Critical, "there is no such path, or --mount-point and nothing is mounted there"},
		{"other", Critical, "--source or --fstype: something else is mounted there"},
		{"read_only", Critical, "it is mounted read-only, which file systems do to themselves after errors"},
		{"hung", Critical, "it does not answer within the timeout"},
		{"crowded", Unknown, "so many other volumes hang that this one is not looked at"},
		{"error", Critical, "it answers with an error: input/output error, stale file handle, transport endpoint is not connected"},
		{"canary", Critical, "--canary: writing failed, or what is read is not what was written"},
	},
	Facts:   []string{"RESPONSE_TIME"},
	address: parseAbsolute,
	check:   checkVolume,
}

// A volumeLook is what one look at a path found. err is what ended it.
type volumeLook struct {
	mount              mountPoint
	isMountPoint       bool
	readOnly           bool
	free, used         float64 // bytes; free is what everybody may use
	inodes, inodesFree float64
	err, canary        error
	written            time.Duration
	unsupported        bool
}

// A mountPoint is a line of /proc/self/mountinfo.
type mountPoint struct {
	path, fstype, source string
	readOnly             bool
}

// Nothing can end a system call to a file system that hangs. So each look is a
// goroutine that is given up when its time is over: one for a path, and so few
// together that the threads which they hold do not matter. Whoever asks for a
// path that is looked at already waits for the same look.
type volumeLooks struct {
	sync.Mutex
	pending map[string]*pendingLook
	most    int
	look    func(path string, canary bool) volumeLook
}

type pendingLook struct {
	began time.Time
	done  chan struct{}
	found volumeLook
}

var volumes = &volumeLooks{pending: map[string]*pendingLook{}, most: 16, look: lookAtVolume}

// begin gives the look at a path, a new one or that which is under way.
func (v *volumeLooks) begin(path string, canary bool) (*pendingLook, bool) {
	key := strconv.FormatBool(canary) + path
	v.Lock()
	defer v.Unlock()
	if p := v.pending[key]; p != nil {
		return p, true
	}
	if len(v.pending) >= v.most {
		return nil, false
	}
	p := &pendingLook{began: time.Now(), done: make(chan struct{})}
	v.pending[key] = p
	go func() {
		p.found = v.look(path, canary)
		v.Lock()
		delete(v.pending, key)
		v.Unlock()
		close(p.done)
	}()
	return p, true
}

func checkVolume(ctx context.Context, t Target) (r Result) {
	volumes.check(ctx, t, &r)
	return r
}

func (v *volumeLooks) check(ctx context.Context, t Target, r *Result) {
	pending, ok := v.begin(t.Address, value[bool](t, "canary"))
	if !ok {
		r.find(Unknown, "crowded", "%d other volumes hang: %s is not looked at", v.most, t.Address)
		return
	}
	select {
	case <-pending.done:
	case <-ctx.Done():
		select {
		case <-pending.done: // both at once
		default:
			r.find(Critical, "hung", "%s hangs: no answer for %s", t.Address, ago(time.Since(pending.began)))
			return
		}
	}
	r.phase("look", pending.began)
	r.judgeVolume(t, pending.found)
}

func (r *Result) judgeVolume(t Target, l volumeLook) {
	path := t.Address
	m := l.mount
	switch {
	case l.unsupported:
		r.find(Unknown, "options", "KIND: volumes are looked at on Linux only")
		return
	case errors.Is(l.err, fs.ErrNotExist):
		r.find(Critical, "missing", "there is no %s", path)
		return
	case l.err != nil:
		r.find(Critical, "error", "%s: %s", path, plainPath(l.err))
		return
	case value[bool](t, "mount-point") && !l.isMountPoint:
		r.find(Critical, "missing", "nothing is mounted at %s, it is a part of %s (%s)", path, m.path, m.source)
		return
	}
	r.facts.connected = true
	if want := value[string](t, "source"); want != "" && want != m.source {
		r.find(Critical, "other", "%s is mounted at %s, wanted %s", m.source, m.path, want)
	}
	if want := value[string](t, "fstype"); want != "" && want != m.fstype {
		r.find(Critical, "other", "%s is of type %s, wanted %s", m.path, m.fstype, want)
	}
	if (l.readOnly || m.readOnly) && !value[bool](t, "read-only") {
		r.find(Critical, "read_only", "%s (%s on %s) is read-only", path, m.fstype, m.source)
	}
	r.say("%s is %s on %s", path, m.fstype, m.source)
	if l.used+l.free > 0 {
		disk := percent(l.used, l.used+l.free)
		r.measure("disk", disk, "%").about = fmt.Sprintf("%s: only %s are free", path, volumeSize(l.free))
		r.measure("free", l.free, "B")
		r.Text += fmt.Sprintf(", %s free", volumeSize(l.free))
	}
	if l.inodes > 0 {
		r.measure("inodes", percent(l.inodes-l.inodesFree, l.inodes), "%").about = fmt.Sprintf("%s: only %.0f inodes are free", path, l.inodesFree)
	}
	if !value[bool](t, "canary") {
		return
	}
	if l.canary != nil {
		r.find(Critical, "canary", "%s cannot be written to: %s", path, plainPath(l.canary))
		return
	}
	r.measure("write", float64(l.written.Microseconds())/1e6, "s")
}

// plainPath is an error of the file system without the name of the file.
func plainPath(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return plain(err)
}

// volumeSize is a number of bytes in its largest unit.
func volumeSize(n float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f bytes", n)
}

// writeCanary writes a new file, reads and removes it.
func writeCanary(dir string) (err error) {
	f, err := os.CreateTemp(dir, ".mesoscope-canary-*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if gone := os.Remove(f.Name()); err == nil {
			err = gone
		}
	}()
	text := strings.Repeat(f.Name()+"\n", 4096/len(f.Name())+1)[:4096]
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	back := make([]byte, len(text))
	if _, err := f.ReadAt(back, 0); err != nil {
		return err
	}
	if string(back) != text {
		return errors.New("what is read is not what was written")
	}
	return nil
}

// findMount is the mount of mountinfo's text in which a path lies: of those
// that hold it the deepest, and of several at one place the last, which hides
// the others.
func findMount(mountinfo, path string) (best mountPoint, ok bool) {
	for line := range strings.Lines(mountinfo) {
		m, valid := parseMount(line)
		inside := valid && (m.path == path || m.path == "/" || strings.HasPrefix(path, m.path+"/"))
		if inside && len(m.path) >= len(best.path) {
			best, ok = m, true
		}
	}
	return best, ok
}

// parseMount reads "36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/sda1 rw".
func parseMount(line string) (mountPoint, bool) {
	before, behind, ok := strings.Cut(line, " - ")
	place, kind := strings.Fields(before), strings.Fields(behind)
	if !ok || len(place) < 6 || len(kind) < 2 || !strings.HasPrefix(place[4], "/") {
		return mountPoint{}, false
	}
	m := mountPoint{path: unescapeOctal(place[4]), fstype: kind[0], source: unescapeOctal(kind[1])}
	options := "," + place[5] + ","
	if len(kind) > 2 {
		options += kind[2] + ","
	}
	m.readOnly = strings.Contains(options, ",ro,")
	return m, true
}

// unescapeOctal reads \040 and the like.
func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func parseAbsolute(s string) (string, error) {
	if !filepath.IsAbs(s) || len(s) > 4096 || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%q is no absolute path", s)
	}
	return filepath.Clean(s), nil
}
