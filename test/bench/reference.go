package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

const (
	referenceRead = 256 << 10
	referenceBody = 4 << 20
)

// reference reads all json-file logs of a Docker root once, cuts entries in the
// one shape that the corpus has, copies message, time and so many bytes of
// metadata into bulk bodies that they are as large as the agent's, and posts
// them. It has no ids from content, joins no pieces,
// keeps no state and looks at no answer but its status: what remains is the
// least that the work can cost in plain Go. It understands the agent's
// configuration as far as the benchmark writes it.
func reference(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("reference", flag.ContinueOnError)
	path := fs.String("config", "", "configuration file")
	fields := fs.Int("fields", 740, "bytes of metadata of each document")
	if err := fs.Parse(args); err != nil {
		return err
	}
	c, err := readSetup(*path)
	if err != nil {
		return err
	}
	if len(c.Output.Elasticsearch.Hosts) == 0 {
		return errors.New("no output.elasticsearch.hosts")
	}
	logs, err := filepath.Glob(filepath.Join(c.Docker.Root, "containers", "*", "*-json.log"))
	if err != nil {
		return err
	}
	p := poster{ctx: ctx, url: bulkURL(c.Output.Elasticsearch.Hosts[0])}
	if level := c.Output.Elasticsearch.CompressionLevel; level > 0 {
		if p.gz, err = gzip.NewWriterLevel(&p.wire, level); err != nil {
			return err
		}
	}
	l := loop{post: p.post, size: *fields}
	for _, log := range logs {
		if err := l.file(log); err != nil {
			return fmt.Errorf("%s: %w", log, err)
		}
	}
	return l.flush()
}

func bulkURL(host string) string {
	return host + "/logs-mesos.container-default/_bulk?filter_path=errors,items.*.status"
}

type loop struct {
	buf    []byte
	body   []byte
	fields []byte
	size   int // of fields
	n      uint64
	post   func(body []byte) error
}

// file copies each entry of a log into the body.
func (l *loop) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if l.buf == nil {
		l.buf = make([]byte, referenceRead)
	}
	l.fields = metadata(filepath.Base(filepath.Dir(path)), l.size)
	rest := 0
	for {
		n, err := f.Read(l.buf[rest:])
		data := l.buf[:rest+n]
		for {
			i := bytes.IndexByte(data, '\n')
			if i < 0 {
				break
			}
			if err := l.entry(data[:i]); err != nil {
				return err
			}
			data = data[i+1:]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rest = copy(l.buf, data); rest == len(l.buf) {
			return errors.New("an entry is longer than the buffer")
		}
	}
}

var (
	entryHead  = []byte(`{"log":"`)
	streamHead = []byte(`","stream":"`)
	timeHead   = []byte(`","time":"`)
)

// entry appends the document of {"log":"…\n","stream":"…","time":"…"}.
func (l *loop) entry(e []byte) error {
	end := bytes.LastIndex(e, streamHead) // the end of log: no unescaped quote can stand in it
	at := bytes.LastIndex(e, timeHead)
	if !bytes.HasPrefix(e, entryHead) || end < 0 || at < end {
		return fmt.Errorf("unexpected entry: %.100s", e)
	}
	message := bytes.TrimSuffix(e[len(entryHead):end], []byte(`\n`))
	b := append(l.body, `{"create":{"_id":"reference`...)
	l.n++
	b = strconv.AppendUint(b, 1e15+l.n, 10)
	b = append(b, "\"}}\n{\"@timestamp\":\""...)
	b = append(b, e[at+len(timeHead):len(e)-2]...)
	b = append(b, `","message":"`...)
	b = append(b, message...)
	b = append(b, `","stream":"`...)
	b = append(b, e[end+len(streamHead):at]...)
	b = append(b, `",`...)
	b = append(b, l.fields...)
	l.body = append(b, "}\n"...)
	if len(l.body) >= referenceBody {
		return l.flush()
	}
	return nil
}

func (l *loop) flush() error {
	if len(l.body) == 0 {
		return nil
	}
	err := l.post(l.body)
	l.body = l.body[:0]
	return err
}

// metadata is so many bytes of JSON members, or a few more if that is too little.
func metadata(id string, size int) []byte {
	b := fmt.Appendf(nil, `"container":{"id":%q,"runtime":"docker"},"service":{"name":"/prod/shop/service"},"host":{"name":"bench"},"labels":{"pad":"`, id)
	return append(b, strings.Repeat("x", max(0, size-len(b)-len(`"}`)))+`"}`...)
}

// referenceFields is how much metadata makes the reference's bodies as large as
// bodies of so many bytes a line, for a log with so many bytes an entry: besides
// it, a document with its action is 56 bytes larger than its entry.
func referenceFields(body, entry float64) int { return int(body - entry - 56 + 0.5) }

type poster struct {
	ctx  context.Context
	url  string
	gz   *gzip.Writer // nil = off
	wire bytes.Buffer
}

func (p *poster) post(body []byte) error {
	if p.gz != nil {
		p.wire.Reset()
		p.gz.Reset(&p.wire)
		if _, err := p.gz.Write(body); err != nil {
			return err
		}
		if err := p.gz.Close(); err != nil {
			return err
		}
		body = p.wire.Bytes()
	}
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	if p.gz != nil {
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the sink answered %s", resp.Status)
	}
	return nil
}
