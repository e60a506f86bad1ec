package command

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

var agoPattern = regexp.MustCompile(`^(\d+)(s|m|h|d|w)$`)

var agoUnits = map[string]time.Duration{
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// localLayouts are times without a zone: they are meant in time.Local.
var localLayouts = []string{
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
}

// parseTime reads a time as people type it: how long before now, or a point.
func parseTime(s string, now time.Time) (time.Time, error) {
	if m := agoPattern.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		unit := agoUnits[m[2]]
		if err != nil || n > int64(200*365*24*time.Hour/unit) {
			return time.Time{}, fmt.Errorf("%q is longer ago than anything can be", s)
		}
		return now.Add(-time.Duration(n) * unit), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil // 1h30m
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, layout := range localLayouts {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time; write 15m, 2h, 7d, 2026-11-23T14:00:00Z or '2026-11-23 14:00'", s)
}
