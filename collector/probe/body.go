package probe

import (
	"compress/flate"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/net/publicsuffix"
)

var errTooLarge = errors.New("the body is larger than its limit")

// A counted body counts what is read of it and ends in an error where it is
// longer than its limit.
type counted struct {
	in   io.Reader
	n    int64
	left int64 // -1 = no limit
}

func (c *counted) Read(p []byte) (int, error) {
	if c.left >= 0 && int64(len(p)) > c.left+1 { // one more shows that there is more
		p = p[:c.left+1]
	}
	n, err := c.in.Read(p)
	if c.left >= 0 {
		if int64(n) > c.left {
			n, err = int(c.left), errTooLarge
		}
		c.left -= int64(n)
	}
	c.n += int64(n)
	return n, err
}

// decompressed is what a compressed body means.
func decompressed(compression string, body io.Reader) (io.Reader, error) {
	switch compression {
	case "gzip":
		return gzip.NewReader(body)
	case "deflate":
		return flate.NewReader(body), nil
	case "br":
		return brotli.NewReader(body), nil
	}
	return body, nil
}

// set writes the header Authorization. The secret in a file is read each time.
func (c *credentials) set(header http.Header) error {
	if c.scheme == "" || header.Get("Authorization") != "" {
		return nil
	}
	secret := c.secret
	if c.file != "" {
		text, err := os.ReadFile(c.file)
		if err != nil {
			return err
		}
		secret = strings.TrimSpace(string(text))
	}
	if c.scheme == "Basic" {
		secret = base64.StdEncoding.EncodeToString([]byte(c.username + ":" + secret))
	}
	header.Set("Authorization", c.scheme+" "+secret)
	return nil
}

// A jar keeps the cookies of one probe, for its redirects. Most probes have none.
type jar struct{ real *cookiejar.Jar }

func (j *jar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	if j.real == nil {
		j.real, _ = cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List}) // never fails
	}
	j.real.SetCookies(u, cookies)
}

func (j *jar) Cookies(u *url.URL) []*http.Cookie {
	if j.real == nil {
		return nil
	}
	return j.real.Cookies(u)
}
