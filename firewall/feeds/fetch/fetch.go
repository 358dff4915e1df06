// Package fetch gets a feed or another file of data from a web server, as little trusting as it can: with limits on time,
// size and redirects, and without letting a server on the internet point it at a private address.
//
// The model in words. One request, conditional if the caller has validators of an earlier answer. A redirect is followed
// at most maxRedirects times, never from https to http, and never to an address that is not public, unless the configured
// URL itself is on such an address. The body goes to the caller as a stream; a body that ends early is an error.
//
// It runs in the unprivileged outbound worker. It keeps no state, uses no proxy from the environment, sends no cookies and
// tries once: when to try again is the caller's business.
package fetch

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 5
	// maxHeader bounds the header of an answer, maxValidator an ETag in it.
	maxHeader    = 64 << 10
	maxValidator = 512
	headerWait   = 30 * time.Second
	dialWait     = 15 * time.Second
	// maxRetryAfter bounds what a server may ask for.
	maxRetryAfter = 24 * time.Hour
)

// ErrTooLarge is the cause where an answer has more than the allowed bytes.
var ErrTooLarge = errors.New("too large")

// Request is what to get.
type Request struct {
	URL string
	// ETag and LastModified are of the copy that the caller has; empty asks for the whole in any case.
	ETag, LastModified string
	// MaxBytes bounds the body as sent and after decompression; zero is 64 MiB.
	MaxBytes  int64
	UserAgent string
	// Now is the clock for a Retry-After that names a date; nil is time.Now.
	Now func() time.Time
	// TLS overrides the defaults, for private certificate authorities; nil is the system's.
	TLS *tls.Config
}

// Response is what came.
type Response struct {
	// NotModified means that the caller's copy is current; the sink was not called.
	NotModified        bool
	ETag, LastModified string
	// URL is the last one, after redirects.
	URL string
	// RetryAfter is how long the server asks to be left alone; only with an error.
	RetryAfter time.Duration
}

// CheckURL reports why raw cannot be the source of a feed.
func CheckURL(raw string) error {
	_, err := parseURL(raw)
	return err
}

func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("not a URL; write for example https://lists.example.org/drop.txt")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("scheme %q cannot be used; write an https or http URL", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("URL has no host; write for example https://lists.example.org/drop.txt")
	}
	return u, nil
}

// Get makes the request and passes the decompressed body to sink. ctx bounds the whole of it.
func Get(ctx context.Context, req Request, sink func(io.Reader) error) (Response, error) {
	res, err := get(ctx, req, sink)
	if err != nil {
		err = plain(err)
		if ctx.Err() != nil { // whatever it broke says less
			err = ctx.Err()
		}
		return res, fmt.Errorf("fetch %s: %w", printable(req.URL), err)
	}
	return res, nil
}

func get(ctx context.Context, req Request, sink func(io.Reader) error) (Response, error) {
	u, err := parseURL(req.URL)
	if err != nil {
		return Response{}, err
	}
	most := req.MaxBytes
	if most <= 0 {
		most = 64 << 20
	}
	g := &guard{host: u.Hostname()}
	tr := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialWait, ControlContext: g.control}).DialContext,
		TLSClientConfig:        req.TLS.Clone(),
		TLSHandshakeTimeout:    dialWait,
		ResponseHeaderTimeout:  headerWait,
		MaxResponseHeaderBytes: maxHeader,
		DisableKeepAlives:      true, // each redirect dials, so that the guard sees each address
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, CheckRedirect: g.redirect}

	hr, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Response{}, err
	}
	hr.Header.Set("User-Agent", req.UserAgent)
	hr.Header.Set("Accept-Encoding", "gzip")
	if req.ETag != "" {
		hr.Header.Set("If-None-Match", req.ETag)
	}
	if req.LastModified != "" {
		hr.Header.Set("If-Modified-Since", req.LastModified)
	}
	resp, err := client.Do(hr)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	out := Response{URL: resp.Request.URL.Redacted(), ETag: validator(resp.Header.Get("ETag")), LastModified: date(resp.Header.Get("Last-Modified"))}
	switch {
	case resp.StatusCode == http.StatusNotModified && (req.ETag != "" || req.LastModified != ""):
		out.NotModified = true
		return out, nil
	case resp.StatusCode != http.StatusOK:
		out.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), req.Now)
		return out, fmt.Errorf("server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	case resp.ContentLength > most:
		return out, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, resp.ContentLength, most)
	}
	body := io.Reader(&limited{resp.Body, most, most})
	switch enc := strings.ToLower(resp.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return out, fmt.Errorf("gzip: %w", err)
		}
		body = &limited{z, most, most}
	default:
		return out, fmt.Errorf("content encoding %q was not asked for", printable(enc))
	}
	if err := sink(body); err != nil {
		return out, err
	}
	// What the sink left unread decides whether the body is complete.
	_, err = io.Copy(io.Discard, body)
	return out, err
}

// plain takes from an error what names the URL a second time.
func plain(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// validator keeps an ETag only if it can be sent back as it is.
func validator(s string) string {
	if len(s) > maxValidator || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return s
}

func date(s string) string {
	if _, err := http.ParseTime(s); err != nil {
		return ""
	}
	return s
}

func retryAfter(s string, now func() time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.Atoi(s); err == nil {
		d = time.Duration(min(max(n, 0), int(maxRetryAfter/time.Second))) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		if now == nil {
			now = time.Now
		}
		d = t.Sub(now())
	}
	return min(max(d, 0), maxRetryAfter)
}

// limited is io.LimitReader with an error at the limit instead of a silent end.
type limited struct {
	r          io.Reader
	left, most int64
}

func (l *limited) Read(b []byte) (int, error) {
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		l.left = 0
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.most)
	}
	return n, err
}

func printable(s string) string {
	if u, err := url.Parse(s); err == nil {
		s = u.Redacted()
	}
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
