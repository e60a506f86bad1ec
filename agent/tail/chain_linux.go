package tail

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// birth is when f was made; zero: the file system does not tell.
func birth(f *os.File) time.Time {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}

// changeTime is when the names or rights of a file changed last, or when it was
// written to.
func changeTime(fi os.FileInfo) time.Time {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return time.Time{}
}

// fileClockTick is how coarse the clock is that stamps files: two events in one
// tick have one time.
func fileClockTick() time.Duration {
	const coarsest = 10 * time.Millisecond // a kernel of 100 ticks a second
	var res unix.Timespec
	if unix.ClockGetres(unix.CLOCK_REALTIME_COARSE, &res) != nil {
		return coarsest
	}
	return max(time.Duration(res.Nano()), time.Millisecond)
}
