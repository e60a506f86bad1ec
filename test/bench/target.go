package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// targetAddresses are on how many loopback addresses a target listens: a closed
// connection keeps its pair of ports for a minute, and one address has 28,000.
const targetAddresses = 64

// targetHost is one of them.
func targetHost(i int) string { return fmt.Sprintf("127.0.1.%d", 1+i%targetAddresses) }

const targetAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"

// serveTarget is the process that is checked. It answers each request head with
// one small page, and waits for the end of a connection on which nothing is
// said; so it is never slower than what checks it.
func serveTarget(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("target", flag.ContinueOnError)
	port := fs.String("port", "0", "port, on all of its addresses")
	if err := fs.Parse(args); err != nil {
		return err
	}
	for i := range targetAddresses {
		l, err := net.Listen("tcp", net.JoinHostPort(targetHost(i), *port))
		if err != nil {
			return err
		}
		defer l.Close()
		_, *port, _ = net.SplitHostPort(l.Addr().String())
		go accept(l)
	}
	fmt.Fprintln(out, *port)
	<-ctx.Done()
	return nil
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go answerOnce(c)
		}
	}
}

// answerOnce reads a head, answers and lets the other side close, or reads the
// end.
func answerOnce(c net.Conn) {
	defer c.Close()
	var buf [1024]byte
	n := 0
	for n < len(buf) {
		more, err := c.Read(buf[n:])
		if n += more; err != nil {
			return
		}
		if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			break
		}
	}
	if _, err := io.WriteString(c, targetAnswer); err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = c.Read(buf[:])
}

// startTarget starts one and returns its port.
func (b *bench) startTarget(ctx context.Context, on seat) (*process, string, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	_, port, _ := net.SplitHostPort(addr)
	p, err := start(on, b.self, "target", "-port", port)
	if err != nil {
		return nil, "", err
	}
	if err := p.listens(ctx, net.JoinHostPort(targetHost(targetAddresses-1), port)); err != nil {
		p.kill()
		return nil, "", fmt.Errorf("start the target: %w", err)
	}
	return p, port, nil
}

// listens waits until somebody listens.
func (p *process) listens(ctx context.Context, addr string) error {
	return p.waitFor(ctx, 5*time.Millisecond, func() (bool, int64, error) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false, 0, nil
		}
		return true, 0, c.Close()
	})
}

// room waits until the kernel's table of connections, where there is one, has
// place for so many more and a quarter to spare: when it is full, the packets of
// everybody on the machine are dropped. A closed connection stays in it for two
// minutes.
func (b *bench) room(ctx context.Context, connections int) error {
	read := func(name string) (n int) {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + name)
		if err == nil {
			n, _ = strconv.Atoi(string(bytes.TrimSpace(text))) // 0 = there is no table
		}
		return n
	}
	most := read("max")
	if most == 0 {
		return nil
	}
	if connections > most*3/4 {
		return fmt.Errorf("%d connections are too many for nf_conntrack_max %d", connections, most)
	}
	for said := false; read("count")+connections > most*3/4; said = true {
		if !said {
			b.progress("waiting for room for %d connections among %d in nf_conntrack", connections, most)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return nil
}
