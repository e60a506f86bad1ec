package collector

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	nameFresh  = 30 * time.Second // a name is asked for once in so long
	nameKept   = 10 * time.Minute // and its last good addresses are used for so long
	nameFailed = 5 * time.Second  // a failure is not asked for again before
	nameLimit  = 5 * time.Second  // for one question
)

// names remembers addresses: a resolver that is slow or away for a moment must
// not make all its names look down, and thousands of checks a second must not
// ask it each time.
type names struct {
	ask func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	known map[string]*name
	swept time.Time
}

type name struct {
	addresses []netip.Addr
	err       error // of the last question
	good      time.Time
	next      time.Time // when to ask again
	used      time.Time
	asking    chan struct{} // closed with the answer; nil: nobody asks
}

func newNames() *names {
	return &names{known: map[string]*name{}, ask: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// lookup is a checks.Lookup.
func (n *names) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	now := time.Now()
	n.mu.Lock()
	n.sweep(now)
	v := n.known[host]
	if v == nil {
		v = &name{}
		n.known[host] = v
	}
	v.used = now
	if v.asking == nil && !now.Before(v.next) {
		v.asking = make(chan struct{})
		go n.refresh(v, host)
	}
	usable := now.Sub(v.good) < nameKept && v.addresses != nil
	if usable || v.asking == nil {
		defer n.mu.Unlock()
		if usable {
			return v.addresses, nil
		}
		return nil, v.err
	}
	asking := v.asking
	n.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-asking:
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if v.addresses != nil && time.Since(v.good) < nameKept {
		return v.addresses, nil
	}
	return nil, v.err
}

// refresh asks, for everybody who waits.
func (n *names) refresh(v *name, host string) {
	ctx, cancel := context.WithTimeout(context.Background(), nameLimit)
	addresses, err := n.ask(ctx, host)
	cancel()
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	v.err, v.next = err, now.Add(nameFailed)
	if err == nil {
		v.addresses, v.good, v.next = addresses, now, now.Add(nameFresh)
	}
	close(v.asking)
	v.asking = nil
}

// sweep forgets what nobody asks for any more. mu is held.
func (n *names) sweep(now time.Time) {
	if now.Sub(n.swept) < time.Minute {
		return
	}
	n.swept = now
	maps.DeleteFunc(n.known, func(_ string, v *name) bool { return v.asking == nil && now.Sub(v.used) > nameKept })
}

// failing is how many names have no good last answer.
func (n *names) failing() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range n.known {
		if v.err != nil {
			count++
		}
	}
	return count
}
