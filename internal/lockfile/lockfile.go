// Package lockfile keeps a folder to one process: the lock is the kernel's, so
// it ends with the process, however that ends, and the file names the process
// for whoever finds the folder taken.
package lockfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A Lock is held until Release.
type Lock struct{ file *os.File }

// A TakenError says that another process has the lock.
type TakenError struct {
	Path string
	PID  int // 0: unknown
}

// Error names the other process.
func (e *TakenError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", e.Path)
	}
	return fmt.Sprintf("%s is locked by process %d", e.Path, e.PID)
}

// Take locks dir through the file "lock" in it. The error is a *TakenError if
// another process has it.
func Take(dir string) (*Lock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		taken := &TakenError{Path: path}
		var text [20]byte
		if n, _ := f.ReadAt(text[:], 0); n > 0 {
			taken.PID, _ = strconv.Atoi(strings.TrimSpace(string(text[:n])))
		}
		return nil, taken
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	// The number is for people; on a full disk the lock has to do without.
	if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

// Release gives the folder free. The file stays: removing it could take away
// the lock of a process that has just opened it.
func (l *Lock) Release() error { return l.file.Close() }
