package probe

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"time"
)

// resolve chooses an address of a host and shows which kind it is. Names are
// looked up for each probe.
func (s *sheet) resolve(ctx context.Context, n network, host string) (ip netip.Addr, took time.Duration, ok bool) {
	s.zero(ipProtocolMetric, lookupMetric, ipHashMetric)
	began := time.Now()
	ip, err := n.choose(ctx, host)
	took = time.Since(began)
	s.set(lookupMetric, took.Seconds())
	if err != nil {
		s.log.Error("the name could not be resolved", "host", host, "prefer", n.prefer, "err", err)
		return ip, took, false
	}
	s.log.Info("the name is resolved", "host", host, "ip", ip)
	protocol := 6.0
	h := fnv.New32a()
	if ip.Is4() {
		protocol = 4
		b := ip.As4()
		h.Write(b[:]) // never fails
	} else {
		b := ip.As16()
		h.Write(b[:])
	}
	s.set(ipProtocolMetric, protocol)
	s.set(ipHashMetric, float64(h.Sum32()))
	return ip, took, true
}

// choose gives the first address of the preferred kind, or else, if that is
// allowed, the last one of the other kind.
func (n network) choose(ctx context.Context, host string) (netip.Addr, error) {
	var all []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		all = []netip.Addr{ip}
	} else if all, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return netip.Addr{}, err
	}
	var other netip.Addr
	for _, ip := range all {
		ip = ip.Unmap()
		if ip.Is4() == (n.prefer == "ip4") {
			return ip, nil
		}
		other = ip
	}
	if !n.fallback || !other.IsValid() {
		want := "IPv6"
		if n.prefer == "ip4" {
			want = "IPv4"
		}
		return netip.Addr{}, fmt.Errorf("%s has no %s address, and there is no fallback", host, want)
	}
	return other, nil
}

// dial connects by TCP from the module's source address, if it has one.
func (n network) dial(ctx context.Context, ip netip.Addr, port string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // a probe is shorter, and it would cost four system calls
	if n.source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(n.source, 0))
	}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
}

// bound makes a connection end with ctx. The function it returns undoes that.
func bound(ctx context.Context, c interface{ SetDeadline(time.Time) error }) (stop func() bool) {
	if end, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(end) // what it does next would fail too
	}
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}
