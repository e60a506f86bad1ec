package checks

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"time"
)

// Cassandra's native protocol, versions 3 and 4, as far as checks need it:
// frames of nine bytes and a body, and rows as an answer.

const maxCQL = 2 << 20

// The opcodes and codes that mean something here.
const (
	cqlError, cqlStartup, cqlReady, cqlAuthenticate, cqlOptions, cqlSupported, cqlQuery, cqlResult, cqlAuthResponse, cqlAuthSuccess = 0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x0f, 0x10

	cqlProtocolError, cqlBadCredentials                                                              = 0x000a, 0x0100
	cqlUnavailable, cqlOverloaded, cqlBootstrapping, cqlReadTimeout, cqlReadFailure, cqlUnauthorized = 0x1000, 0x1001, 0x1002, 0x1200, 0x1300, 0x2100

	cqlLocalQuorum, cqlLocalOne = 0x0006, 0x000a
)

// A cqlRefusal is an error that the node answers with.
type cqlRefusal struct {
	code int32
	said string
}

func (e cqlRefusal) Error() string { return clip(e.said) }

// A cqlNode is a connection that may be asked.
type cqlNode struct {
	*session
	r       *Result
	version byte
}

// call sends one frame and reads the answer.
func (n *cqlNode) call(opcode byte, body []byte) (byte, *cqlReader, error) {
	frame := append([]byte{n.version, 0, 0, 0, opcode}, binary.BigEndian.AppendUint32(nil, uint32(len(body)))...)
	defer n.r.phase("wait", time.Now())
	if _, err := n.Write(append(frame, body...)); err != nil {
		return 0, nil, err
	}
	opcode, in, err := readCQL(n.in)
	if err == nil && opcode == cqlError {
		code, said := in.int(), in.string()
		if in.short {
			return 0, nil, in.end()
		}
		return 0, nil, cqlRefusal{code, said}
	}
	return opcode, in, err
}

// readCQL reads one frame.
func readCQL(from io.Reader) (byte, *cqlReader, error) {
	var head [9]byte
	if _, err := io.ReadFull(from, head[:1]); err != nil {
		return 0, nil, err
	}
	if head[0] < 0x81 || head[0] > 0x86 {
		return 0, nil, wrongProtocol("the answer is no CQL: it begins with byte %#02x", head[0])
	}
	if _, err := io.ReadFull(from, head[1:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[5:])
	if head[2] != 0 || head[3] != 0 || head[1]&^0x08 != 0 || size > maxCQL {
		return 0, nil, wrongProtocol("the answer is no CQL: its frame begins with %q", head[:])
	}
	body, err := io.ReadAll(io.LimitReader(from, int64(size)))
	if err == nil && len(body) < int(size) {
		err = io.ErrUnexpectedEOF
	}
	in := &cqlReader{b: body}
	if head[1]&0x08 != 0 { // warnings stand in front
		for range in.short16() {
			_ = in.string()
		}
	}
	return head[4], in, err
}

// A cqlReader takes a body apart. Reading past its end gives zeros, and end
// tells.
type cqlReader struct {
	b     []byte
	short bool
}

func (c *cqlReader) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.short, c.b = true, nil
		return make([]byte, min(max(n, 0), 8))
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cqlReader) int() int32     { return int32(binary.BigEndian.Uint32(c.take(4))) }
func (c *cqlReader) short16() int   { return int(binary.BigEndian.Uint16(c.take(2))) }
func (c *cqlReader) string() string { return string(c.take(c.short16())) }

func (c *cqlReader) end() error {
	if c.short {
		return wrongProtocol("the answer of the node is damaged")
	}
	return nil
}

// skipType passes over the type of a column.
func (c *cqlReader) skipType(depth int) {
	if depth > 8 {
		c.short, c.b = true, nil
		return
	}
	switch c.short16() {
	case 0x00: // custom
		_ = c.string()
	case 0x20, 0x22: // list, set
		c.skipType(depth + 1)
	case 0x21: // map
		c.skipType(depth + 1)
		c.skipType(depth + 1)
	case 0x30: // a type of users
		_, _ = c.string(), c.string()
		for range c.short16() {
			if c.short {
				return
			}
			_ = c.string()
			c.skipType(depth + 1)
		}
	case 0x31: // tuple
		for range c.short16() {
			if c.short {
				return
			}
			c.skipType(depth + 1)
		}
	}
}

// cqlRows reads a result that consists of rows. Values are raw bytes; null is
// not in a row.
func cqlRows(c *cqlReader) ([]row, error) {
	if kind := c.int(); kind != 2 {
		return nil, wrongProtocol("a question for rows is answered by something else (%d)", kind)
	}
	flags, columns := c.int(), int(c.int())
	if columns < 1 || columns > 1000 {
		return nil, wrongProtocol("the answer of the node is damaged")
	}
	if flags&2 != 0 { // there are more pages
		c.take(int(c.int()))
	}
	names := make([]string, columns)
	if flags&1 != 0 {
		_, _ = c.string(), c.string()
	}
	for i := range names {
		if flags&1 == 0 {
			_, _ = c.string(), c.string()
		}
		names[i] = c.string()
		c.skipType(0)
	}
	count := int(c.int())
	if c.short || count < 0 || count > len(c.b)/4/columns {
		return nil, wrongProtocol("the answer of the node is damaged")
	}
	var out []row
	for range count {
		w := row{}
		for _, name := range names {
			if n := int(c.int()); n >= 0 {
				w[name] = string(c.take(n))
			}
		}
		out = append(out, w)
	}
	return out, c.end()
}

// cqlNumber is a raw int or bigint.
func cqlNumber(s string) float64 {
	switch len(s) {
	case 4:
		return float64(int32(binary.BigEndian.Uint32([]byte(s))))
	case 8:
		return float64(int64(binary.BigEndian.Uint64([]byte(s))))
	}
	return math.NaN()
}

func cqlText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// query asks a statement.
func (n *cqlNode) query(statement string, consistency uint16) ([]row, error) {
	body := binary.BigEndian.AppendUint32(nil, uint32(len(statement)))
	body = append(body, statement...)
	body = binary.BigEndian.AppendUint16(body, consistency)
	opcode, in, err := n.call(cqlQuery, append(body, 0))
	if err != nil {
		return nil, err
	}
	if opcode != cqlResult {
		return nil, wrongProtocol("a query is answered by opcode %#02x", opcode)
	}
	return cqlRows(in)
}

// openCQL connects and asks for the options, in version 4 or, where that is not
// known, in 3.
func (r *Result) openCQL(ctx context.Context, t Target) (*cqlNode, error) {
	for _, version := range []byte{4, 3} {
		s, ok := open(ctx, r, t, maxCQL)
		if !ok {
			return nil, errFound
		}
		n := &cqlNode{s, r, version}
		opcode, _, err := n.call(cqlOptions, nil)
		if err == nil && opcode != cqlSupported {
			err = wrongProtocol("OPTIONS is answered by opcode %#02x", opcode)
		}
		if err == nil {
			return n, nil
		}
		s.Close()
		var refused cqlRefusal
		if version == 3 || !errors.As(err, &refused) || refused.code != cqlProtocolError {
			return nil, err
		}
	}
	return nil, errFound // not reached
}

// errLocked says that a login is needed and none is given.
var errLocked = errors.New("login needed")

// start begins the session and logs in.
func (n *cqlNode) start(name, password string) error {
	opcode, in, err := n.call(cqlStartup, append([]byte{0, 1}, append(cqlText("CQL_VERSION"), cqlText("3.0.0")...)...))
	switch {
	case err != nil:
		return err
	case opcode == cqlReady:
		return nil
	case opcode != cqlAuthenticate:
		return wrongProtocol("STARTUP is answered by opcode %#02x", opcode)
	case name == "":
		return errLocked
	}
	if class := in.string(); strings.HasSuffix(class, "AllowAllAuthenticator") {
		return nil
	}
	token := saslPlain(name, password)
	opcode, _, err = n.call(cqlAuthResponse, append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
	if err == nil && opcode != cqlAuthSuccess {
		err = wrongProtocol("the login is answered by opcode %#02x", opcode)
	}
	return err
}
