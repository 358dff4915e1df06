// Package servingtest has what the tests of servers have in common: handlers that answer in every way there is, by which one
// server can be held against another. No program imports it.
package servingtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Handlers are what answers can be like, by a name for each.
func Handlers() map[string]http.HandlerFunc {
	large := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	set := func(w http.ResponseWriter, kv ...string) {
		for i := 0; i < len(kv); i += 2 {
			w.Header().Add(kv[i], kv[i+1])
		}
	}
	return map[string]http.HandlerFunc{
		"nothing": func(w http.ResponseWriter, r *http.Request) {},
		"short":   func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") },
		"html":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<!doctype html><title>x</title>") },
		"html in two": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<!doc")
			io.WriteString(w, "type html>")
		},
		"typed": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Type", "x/y")
			io.WriteString(w, "hello")
		},
		"no type": func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "hello")
		},
		"encoded": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Encoding", "gzip")
			io.WriteString(w, "hello")
		},
		"large": func(w http.ResponseWriter, r *http.Request) { w.Write(large) },
		"large in pieces": func(w http.ResponseWriter, r *http.Request) {
			for b := range slices.Chunk(large, 777) {
				w.Write(b)
			}
		},
		"large with a length": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Length", strconv.Itoa(len(large)))
			w.Write(large[:100])
			w.Write(large[100:])
		},
		"length": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Length", "5", "Content-Type", "a/b")
			io.WriteString(w, "hello")
		},
		"length of nothing": func(w http.ResponseWriter, r *http.Request) { set(w, "Content-Length", "0"); w.WriteHeader(404) },
		"less than its length": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Length", "9")
			io.WriteString(w, "hello")
		},
		"more than its length": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Length", "3")
			io.WriteString(w, "hello")
		},
		"flushed": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		},
		"flushed head": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() },
		"created":      func(w http.ResponseWriter, r *http.Request) { set(w, "Location", "/x"); w.WriteHeader(201) },
		"twice":        func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201); w.WriteHeader(500) },
		"no content":   func(w http.ResponseWriter, r *http.Request) { set(w, "Content-Length", "5"); w.WriteHeader(204) },
		"not modified": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Length", "5", "Etag", "x", "Content-Type", "a/b")
			w.WriteHeader(304)
		},
		"no content with some": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); err != http.ErrBodyNotAllowed {
				panic(err)
			}
		},
		"close": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Connection", "close")
			io.WriteString(w, "hello")
		},
		"keep-alive": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Connection", "keep-alive", "Content-Length", "5")
			io.WriteString(w, "hello")
		},
		"many values": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Set-Cookie", "a=b", "Set-Cookie", "c=d", "X-Empty", "")
		},
		"a line of more": func(w http.ResponseWriter, r *http.Request) { set(w, "X-A", "b\r\nX-B: c", "X-C", "d") },
		"no name": func(w http.ResponseWriter, r *http.Request) {
			set(w, "X-C", "d\n")
			w.Header()["X Y\r\n"] = []string{"z"}
		},
		"own date": func(w http.ResponseWriter, r *http.Request) { set(w, "Date", "Thu, 01 Jan 1970 00:00:00 GMT") },
		"chunked by hand": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Transfer-Encoding", "chunked", "Content-Type", "a/b")
			io.WriteString(w, strings.Repeat("x", 4000))
		},
		"trailers": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Trailer", "X-A, x-b")
			io.WriteString(w, "hello")
			set(w, "X-A", "1", "X-B", "2")
		},
		"sudden trailer": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			set(w, http.TrailerPrefix+"X-A", "1\r\n2")
		},
		"early hints": func(w http.ResponseWriter, r *http.Request) {
			set(w, "Link", "</a>")
			w.WriteHeader(103)
			w.WriteHeader(102)
			io.WriteString(w, "hello")
		},
		"body": func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			fmt.Fprint(w, string(b), err, r.Trailer)
		},
		"body late": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			w.(http.Flusher).Flush()
			b, err := io.ReadAll(r.Body)
			fmt.Fprint(w, string(b), err)
		},
		"give up":        func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"give up within": func(w http.ResponseWriter, r *http.Request) { w.Write(large); panic(http.ErrAbortHandler) },
		"echo": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Method, r.RequestURI, r.Proto, r.Host, r.URL, r.ContentLength, r.TransferEncoding, r.Header, r.Trailer)
		},
	}
}
