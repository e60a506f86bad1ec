package checks

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// A Range is Nagios' threshold: a value outside of it alerts, or inside with @.
type Range struct {
	Low, High float64 // both belong to it
	Inside    bool
}

// ParseRange reads "10" (0 to 10), "10:", "~:10", "10:20", "@10:20". An empty
// text is the range that never alerts.
func ParseRange(s string) (Range, error) {
	r := Range{Low: math.Inf(-1), High: math.Inf(1)}
	if s == "" {
		return r, nil
	}
	s, r.Inside = strings.CutPrefix(s, "@")
	low, high, two := strings.Cut(s, ":")
	if !two {
		low, high = "0", s
	}
	var err error
	if low != "~" {
		if r.Low, err = finite(low); err != nil {
			return r, err
		}
	}
	if high != "" {
		if r.High, err = finite(high); err != nil {
			return r, err
		}
	}
	if !two && high == "" {
		return r, errors.New("empty range")
	}
	if r.Low > r.High {
		return r, errors.New("the first number is greater than the second")
	}
	return r, nil
}

func finite(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, errors.New(`"` + s + `" is not a number; ranges are 10, 10:, ~:10, 10:20, @10:20`)
	}
	return f, nil
}

// Alerts says whether a value is bad.
func (r Range) Alerts(v float64) bool {
	return (v < r.Low || v > r.High) != r.Inside
}
