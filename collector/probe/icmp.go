package probe

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

var (
	icmpPhaseMetric = newMetric("probe_icmp_duration_seconds", "Duration of icmp request by phase", "phase")
	icmpHopsMetric  = newMetric("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)")
)

// maxPayload is what fits into one packet of IPv4.
const maxPayload = 65535 - 20 - 8

// Raw sockets see the answers to everybody's pings: the number tells processes
// apart, the sequence our probes.
var (
	pingNumber   = rand.IntN(1 << 16)
	pingSequence atomic.Uint32
)

// A pinger is a socket for echo requests.
type pinger struct {
	net.PacketConn
	four *ipv4.PacketConn // nil = IPv6
	six  *ipv6.PacketConn
	raw  bool // else the kernel chooses the number
}

func probeICMP(ctx context.Context, target string, m *module, s *sheet) bool {
	i := &m.icmp
	for _, phase := range []string{"resolve", "setup", "rtt"} {
		s.set(icmpPhaseMetric, 0, phase)
	}
	ip, took, ok := s.resolve(ctx, i.network, target)
	if !ok {
		return false
	}
	s.set(icmpPhaseMetric, took.Seconds(), "resolve")
	began := time.Now()
	p, err := i.open(ctx, ip)
	if err != nil {
		s.log.Error("no socket for pings", "err", err)
		return false
	}
	defer p.Close()
	defer bound(ctx, p)()
	echo := &icmp.Echo{ID: pingNumber, Seq: int(pingSequence.Add(1) & 0xffff), Data: i.data()}
	q := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: echo}
	if p.six != nil {
		q.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err := q.Marshal(nil)
	if err != nil {
		s.log.Error("the packet cannot be made", "err", err)
		return false
	}
	s.since(icmpPhaseMetric, began, "setup")
	began = time.Now()
	if _, err := p.WriteTo(packet, p.address(ip)); err != nil {
		s.log.Error("sending failed", "err", err)
		return false
	}
	s.log.Info("sent", "sequence", echo.Seq, "raw", p.raw)
	hops, err := p.await(ip, echo)
	if err != nil {
		s.log.Error("no answer", "err", err)
		return false
	}
	s.since(icmpPhaseMetric, began, "rtt")
	if hops >= 0 {
		s.set(icmpHopsMetric, float64(hops))
	}
	return true
}

func (i *icmpModule) data() []byte {
	const text = "mesoscope probe, as long as this"
	if i.payload == 0 {
		return []byte(text)
	}
	data := make([]byte, i.payload)
	copy(data, text)
	return data
}

// open makes a ping socket, which needs no right if the system's
// net.ipv4.ping_group_range has our group, else a raw one, which needs
// CAP_NET_RAW.
func (i *icmpModule) open(ctx context.Context, ip netip.Addr) (*pinger, error) {
	ping, raw, from := "udp4", "ip4:icmp", "0.0.0.0"
	if ip.Is6() {
		ping, raw, from = "udp6", "ip6:ipv6-icmp", "::"
	}
	if i.source.IsValid() {
		from = i.source.String()
	}
	p := &pinger{}
	var refused error
	if !i.dontFragment {
		c, err := icmp.ListenPacket(ping, from)
		if err == nil {
			p.PacketConn, p.four, p.six = c, c.IPv4PacketConn(), c.IPv6PacketConn()
		}
		refused = err
	}
	if p.PacketConn == nil {
		var l net.ListenConfig
		if i.dontFragment && ip.Is4() {
			l.Control = dontFragment
		}
		c, err := l.ListenPacket(ctx, raw, from)
		if err != nil {
			return nil, fmt.Errorf("no raw socket (CAP_NET_RAW): %w; no ping socket either (net.ipv4.ping_group_range, not with dont_fragment): %v", err, refused)
		}
		p.PacketConn, p.raw = c, true
		if ip.Is4() {
			p.four = ipv4.NewPacketConn(c)
		} else {
			p.six = ipv6.NewPacketConn(c)
		}
	}
	if err := p.prepare(i.ttl); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// prepare sets the life of packets and asks for that of the answer. Where the
// latter is not to be had, the series is missing.
func (p *pinger) prepare(ttl int) error {
	if p.six != nil {
		_ = p.six.SetControlMessage(ipv6.FlagHopLimit, true)
		if ttl > 0 {
			return p.six.SetHopLimit(ttl)
		}
		return nil
	}
	_ = p.four.SetControlMessage(ipv4.FlagTTL, true)
	if ttl > 0 {
		return p.four.SetTTL(ttl)
	}
	return nil
}

// address is where to send: for a ping socket it has the form of UDP's.
func (p *pinger) address(ip netip.Addr) net.Addr {
	if p.raw {
		return &net.IPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}
	}
	return &net.UDPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}
}

// await reads until the answer to an echo comes. hops is -1 if the system does
// not say.
func (p *pinger) await(from netip.Addr, echo *icmp.Echo) (hops int, err error) {
	want := p.address(from).String()
	buf := make([]byte, 2*len(echo.Data)+1500)
	for {
		var n int
		var peer net.Addr
		hops = -1
		protocol := 1 // ICMP
		if p.six != nil {
			var more *ipv6.ControlMessage
			n, more, peer, err = p.six.ReadFrom(buf)
			if more != nil {
				hops = more.HopLimit
			}
			protocol = 58
		} else {
			var more *ipv4.ControlMessage
			n, more, peer, err = p.four.ReadFrom(buf)
			if more != nil {
				hops = more.TTL
			}
		}
		if err != nil {
			return -1, err
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || peer.String() != want || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
			continue // somebody else's
		}
		reply, ok := m.Body.(*icmp.Echo)
		if ok && reply.Seq == echo.Seq && (!p.raw || reply.ID == echo.ID) && bytes.Equal(reply.Data, echo.Data) {
			return hops, nil
		}
	}
}
