package cache

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// forward lets next answer the client directly. What the answer says about stored ones is acted on.
func (c *Cache) forward(w http.ResponseWriter, r *http.Request, next http.Handler, why string) {
	out := &forwarder{ResponseWriter: w}
	out.header = func(status int) {
		addStatus(w.Header(), c.name, why)
		switch {
		case r.Method == http.MethodHead:
			c.compare(r, status, w.Header())
		case !isSafe(r.Method) && status >= 200 && status < 400:
			c.invalidate(r, w.Header())
		}
	}
	next.ServeHTTP(out, r)
	if !out.wrote {
		out.header(http.StatusOK) // which the server sends by itself, unless the connection was taken over
	}
}

// isSafe are the methods that change nothing; one that nobody knows may change anything (RFC 9110, section 9.2.1).
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "QUERY", "PROPFIND", "REPORT", "SEARCH":
		return true
	}
	return false
}

// invalidate drops what an unsafe request has changed: its own address, and those of the same host that the
// answer names (RFC 9111, section 4.4).
func (c *Cache) invalidate(r *http.Request, h http.Header) {
	c.drop(urlOfKey(c.keyOf(r)))
	base := url.URL{Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	for _, name := range []string{"Location", "Content-Location"} {
		u, err := base.Parse(h.Get(name))
		if h.Get(name) == "" || err != nil || !strings.EqualFold(u.Host, r.Host) {
			continue
		}
		c.drop(urlOfKey(c.keyOf(&http.Request{TLS: r.TLS, Host: r.Host, URL: u, Header: r.Header})))
	}
}

// drop drops an address, whatever the values of the key headers were.
func (c *Cache) drop(address string) {
	if len(c.config.KeyHeaders) > 0 {
		c.store.purge(func(key string) bool { return urlOfKey(key) == address }, func(*meta) bool { return true })
		return
	}
	c.store.doom(func(key string) bool { return key == address })
	c.store.drop(address, func(*meta) bool { return true })
}

// compare drops a stored answer that a HEAD shows to be another one now (RFC 9111, section 4.3.5).
func (c *Cache) compare(r *http.Request, status int, h http.Header) {
	if status != http.StatusOK {
		return
	}
	key := c.keyOf(r)
	o, _ := c.store.find(key, r.Header)
	if o == nil || o.Status != http.StatusOK {
		return
	}
	for _, name := range []string{"Etag", "Last-Modified", "Content-Length"} {
		if got := h.Get(name); got != "" && o.Header.Get(name) != "" && got != o.Header.Get(name) {
			c.store.drop(key, func(m *meta) bool { return m.sameVariant(&o.meta) })
			return
		}
	}
}

// forwarder looks at the header on its way to the client.
type forwarder struct {
	http.ResponseWriter
	header func(status int)
	wrote  bool
}

func (f *forwarder) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func (f *forwarder) WriteHeader(status int) {
	if !f.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		f.wrote = true
		f.header(status)
	}
	f.ResponseWriter.WriteHeader(status)
}

func (f *forwarder) Write(p []byte) (int, error) {
	if !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	return f.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (f *forwarder) ReadFrom(src io.Reader) (int64, error) {
	if !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	return io.Copy(f.ResponseWriter, src)
}

// Flush implements http.Flusher.
func (f *forwarder) Flush() { _ = f.FlushError() }

// FlushError flushes the header too, where it is still to come.
func (f *forwarder) FlushError() error {
	if !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(f.ResponseWriter).Flush()
}
