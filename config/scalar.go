package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// units of Bytes, the larger ones first: that is the order in which String
// tries them. KB, MB … are thousands, as disks and Elasticsearch's users write.
var units = []struct {
	name  string
	bytes float64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// ParseBytes reads "8388608", "8MiB" and "1.5 GB". "10g" is refused, because
// nobody knows whether its writer meant 1000 or 1024.
func ParseBytes(s string) (Bytes, error) {
	number, unit := s, 1.0
	for _, u := range units {
		if head, ok := cutSuffixFold(s, u.name); ok {
			number, unit = strings.TrimSpace(head), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	// ParseFloat also takes "inf", "0x1p4" and "1_0", which nobody means here
	if err != nil || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size; write a number with B, KiB, MiB, GiB, TiB (or KB, MB, GB, TB), like 8MiB", s)
	}
	if f *= unit; f >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is more than any disk holds", s)
	}
	return Bytes(f), nil
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n >= 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n], true
	}
	return s, false
}

// String writes b with the largest unit that needs no fraction.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%Bytes(u.bytes) == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(b)/int64(u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText writes b as String does, for YAML and JSON.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// ParseDuration reads Go's durations and days: "90s", "1h30m", "30d", "1d12h".
func ParseDuration(s string) (Duration, error) {
	bad := fmt.Errorf("%q is not a duration; write a number with ms, s, m, h or d, like 90s or 30d", s)
	var days float64
	rest := s
	if head, tail, ok := strings.Cut(s, "d"); ok {
		f, err := strconv.ParseFloat(head, 64)
		if err != nil || strings.Trim(head, "0123456789.") != "" {
			return 0, bad
		}
		days, rest = f, tail
		if rest == "" {
			rest = "0s"
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.HasPrefix(rest, "+") {
		return 0, bad
	}
	total := days*float64(day) + float64(d)
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too long; the longest is 290 years", s)
	}
	return Duration(days*float64(day)) + Duration(d), nil
}

// String writes d in days where it has whole days, else as time.Duration does
// without parts that are zero.
func (d Duration) String() string {
	if d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes d as String does, for YAML and JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// parseMinFree reads a percentage ("5%") or a size; exactly one is not zero,
// unless both are because nothing needs to stay free.
func parseMinFree(s string) (Bytes, float64, error) {
	if head, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(head), 64)
		if err != nil || strings.Trim(strings.TrimSpace(head), "0123456789.") != "" || f > 90 {
			return 0, 0, fmt.Errorf("%q is not a percentage from 0%% to 90%%", s)
		}
		return 0, f, nil
	}
	b, err := ParseBytes(s)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is neither a percentage like 5%% nor a size like 2GiB", s)
	}
	return b, 0, nil
}
