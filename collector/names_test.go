package collector

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestNames: one question for all, the last good answer while the resolver is
// away, and an end of that.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNames()
		var mu sync.Mutex
		asked, address, fail := 0, netip.MustParseAddr("10.0.0.1"), error(nil)
		n.ask = func(context.Context, string) ([]netip.Addr, error) {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			asked++
			return []netip.Addr{address}, fail
		}
		set := func(a string, err error) {
			mu.Lock()
			defer mu.Unlock()
			address, fail = netip.MustParseAddr(a), err
		}
		get := func() string {
			a, err := n.lookup(t.Context(), "shop")
			if err != nil {
				return err.Error()
			}
			return a[0].String()
		}
		is := func(want string) {
			t.Helper()
			if got := get(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { is("10.0.0.1") })
		}
		all.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		set("10.0.0.2", nil)
		time.Sleep(20 * time.Second)
		is("10.0.0.1") // still fresh
		time.Sleep(20 * time.Second)
		is("10.0.0.1") // and nobody waits for the new one
		time.Sleep(2 * time.Second)
		is("10.0.0.2")
		set("10.0.0.3", errors.New("away"))
		time.Sleep(9 * time.Minute)
		is("10.0.0.2")
		time.Sleep(2 * time.Second)
		is("10.0.0.2") // also when it is known that the resolver fails
		if n.failing() != 1 {
			t.Errorf("%d fail", n.failing())
		}
		time.Sleep(2 * time.Minute)
		is("away")
		set("10.0.0.4", nil)
		time.Sleep(10 * time.Second)
		get()
		time.Sleep(2 * time.Second)
		is("10.0.0.4")
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := n.lookup(short, "other"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a slow resolver: %v", err)
		}
		time.Sleep(time.Hour)
		get()
		n.mu.Lock()
		if len(n.known) != 1 {
			t.Errorf("%d names are kept", len(n.known))
		}
		n.mu.Unlock()
		time.Sleep(2 * time.Second) // the last question ends
	})
}
