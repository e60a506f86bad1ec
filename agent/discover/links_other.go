//go:build !linux

package discover

import "os"

// links is the number of a file's names as far as known here: nobody holds
// files by hard link on these systems.
func links(os.FileInfo) uint64 { return 1 }
