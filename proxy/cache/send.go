package cache

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// setHeader adds the fields of a response to those of the client, where whoever is in front of the cache may have put some.
func setHeader(to, from http.Header) {
	for name, values := range from {
		if name == "Vary" {
			for v := range header.Elements(values) {
				header.AddVary(to, v)
			}
			continue
		}
		// Without room to grow in: the values belong to an object that others read.
		if have := to[name]; len(have) > 0 {
			values = append(have[:len(have):len(have)], values...)
		}
		to[name] = values[:len(values):len(values)]
	}
}

// addStatus appends what this cache did to Cache-Status (RFC 9211).
func addStatus(h http.Header, name, what string) {
	h["Cache-Status"] = append(h["Cache-Status"][:len(h["Cache-Status"]):len(h["Cache-Status"])], name+"; "+what)
}

func ttl(o *object, now time.Time) string {
	return strconv.FormatInt(int64(o.remaining(now)/time.Second), 10)
}

// send answers with a stored object: whole, a range of it, or 304 where the client has it. On an error nothing was sent.
func (q *query) send(o *object, now time.Time, status string) error {
	content, err := o.body.open()
	if err != nil {
		return err
	}
	defer content.Close()
	h := q.w.Header()
	setHeader(h, o.Header)
	h.Set("Age", strconv.FormatInt(int64(o.age(now)/time.Second), 10))
	addStatus(h, q.name, status)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // the origin did not say, and nobody else knows
	}
	length := o.body.size()
	if bodyAllowed(o.Status) {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if o.Status == http.StatusOK {
		modified, _ := dateOf(o.Header, "Last-Modified")
		http.ServeContent(q.w, header.BoundRanges(q.r), "", modified, content)
		return nil
	}
	q.w.WriteHeader(o.Status)
	if q.r.Method != http.MethodHead && length > 0 {
		_, _ = io.Copy(q.w, content) // the client is gone: nobody to tell
	}
	return nil
}
