package api

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"mesoscope/search"
)

// request reads a search.Request from a URL query.
func request(v url.Values) (search.Request, error) {
	var r search.Request
	var filters []Filter
	for _, name := range []string{"is", "not"} {
		for _, s := range v[name] {
			f, err := ParseFilter(s, name == "not")
			if err != nil {
				return r, err
			}
			filters = append(filters, f)
		}
	}
	var err error
	if r.Query, err = Compose(v.Get("q"), filters); err != nil {
		return r, queryError(err)
	}
	for name, t := range map[string]*time.Time{"since": &r.Since, "until": &r.Until} {
		if s := v.Get(name); s != "" {
			if *t, err = time.Parse(time.RFC3339Nano, s); err != nil {
				return r, fmt.Errorf("%s=%q: want a time as in RFC 3339, for example 2026-11-23T14:00:00Z", name, s)
			}
		}
	}
	if !r.Since.IsZero() && !r.Until.IsZero() && !r.Since.Before(r.Until) {
		return r, fmt.Errorf("since=%s is not before until=%s", v.Get("since"), v.Get("until"))
	}
	for name, b := range map[string]*bool{"newest": &r.Newest, "arrival": &r.Arrival} {
		if s := v.Get(name); s != "" {
			if *b, err = strconv.ParseBool(s); err != nil {
				return r, fmt.Errorf("%s=%q: want true or false", name, s)
			}
		}
	}
	if r.Limit, err = count(v, "limit", 100); err != nil {
		return r, err
	}
	r.After = search.Cursor(v.Get("after"))
	return r, nil
}

// count reads a whole number from 1 on.
func count(v url.Values, name string, absent int) (int, error) {
	s := v.Get(name)
	if s == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s=%q: want a whole number from 1 on", name, s)
	}
	return n, nil
}

// values writes what request reads.
func values(r search.Request) url.Values {
	v := url.Values{}
	if q := r.Query.String(); q != "" {
		v.Set("q", q)
	}
	if !r.Since.IsZero() {
		v.Set("since", r.Since.UTC().Format(time.RFC3339Nano))
	}
	if !r.Until.IsZero() {
		v.Set("until", r.Until.UTC().Format(time.RFC3339Nano))
	}
	if r.Limit > 0 {
		v.Set("limit", strconv.Itoa(r.Limit))
	}
	if r.Newest {
		v.Set("newest", "true")
	}
	if r.Arrival {
		v.Set("arrival", "true")
	}
	if r.After != "" {
		v.Set("after", string(r.After))
	}
	return v
}
