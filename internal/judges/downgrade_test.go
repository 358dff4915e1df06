package judges

import (
	"bytes"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// downgrade is a request of HTTP/2, whose fields may hold what HTTP/1.1 takes for lines of its own. Fields that begin with a
// colon and are not given have what is usual; a value of "-" leaves one out. "@" is the path of the case.
type downgrade struct {
	name   string
	fields []string // names and values in turn
	body   string
	whole  int
	cut    bool
}

const injected = " HTTP/1.1\r\nHost: a.test\r\n\r\nGET @/smuggled HTTP/1.1\r\nX: "

var downgrades = []downgrade{
	{name: "an ordinary request", whole: 1},
	{name: "a body of the length that was said", fields: []string{":method", "POST", "content-length", "5"}, body: "hello", whole: 1},
	{name: "a body without a length", fields: []string{":method", "POST"}, body: "hello", whole: 1},
	{name: "CRLF in a value", fields: []string{"x", "a\r\nTransfer-Encoding: chunked\r\n\r\nGET @/smuggled HTTP/1.1\r\n"}},
	{name: "LF in a value", fields: []string{"x", "a\nx-forwarded-for: 192.0.2.1"}},
	{name: "CR in a value", fields: []string{"x", "a\rb"}},
	{name: "NUL in a value", fields: []string{"x", "a\x00b"}},
	{name: "a space in front of a value", fields: []string{"x", " a"}, whole: 1},
	{name: "CRLF in a name", fields: []string{"x: a\r\nx-forwarded-for", "192.0.2.1"}},
	{name: "a colon in a name", fields: []string{"x:y", "a"}},
	{name: "a space in a name", fields: []string{"transfer-encoding ", "chunked"}},
	{name: "upper case in a name", fields: []string{"Transfer-Encoding", "chunked"}},
	{name: "a name that is empty", fields: []string{"", "a"}},
	{name: "transfer-encoding", fields: []string{":method", "POST", "transfer-encoding", "chunked"}, body: "0\r\n\r\nGET @/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"},
	{name: "connection", fields: []string{"connection", "keep-alive"}},
	{name: "upgrade", fields: []string{"upgrade", "h2c"}},
	{name: "content-length too small", fields: []string{":method", "POST", "content-length", "0"}, body: "GET @/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n", cut: true},
	{name: "content-length too large", fields: []string{":method", "POST", "content-length", "90"}, body: "hello", cut: true},
	{name: "two lengths", fields: []string{":method", "POST", "content-length", "5", "content-length", "0"}, body: "hello"},
	{name: "content-length that is no number", fields: []string{":method", "POST", "content-length", "+5"}, body: "hello"},
	{name: "content-length with a line in it", fields: []string{":method", "POST", "content-length", "0\r\n\r\n"}, body: "hello"},
	{name: "CRLF in :path", fields: []string{":path", "@/first" + injected}},
	{name: "a space in :path", fields: []string{":path", "@/first HTTP/1.1"}, whole: 1},
	{name: "a space in the query", fields: []string{":path", "@/first?a HTTP/1.1"}},
	{name: "a tab in the query", fields: []string{":path", "@/first?a\tb"}},
	{name: "a fragment in the query", fields: []string{":path", "@/first?a#b"}},
	{name: ":path without a slash", fields: []string{":path", "first@"}},
	{name: ":path that is a URL", fields: []string{":path", "https://b.test@/first"}},
	{name: ":path that is empty", fields: []string{":path", ""}},
	{name: ":path that is missing", fields: []string{":path", "-"}},
	{name: ":path twice", fields: []string{":path", "@/first", ":path", "@/smuggled"}},
	{name: "CRLF in :method", fields: []string{":method", "GET @/first" + injected}},
	{name: "a space in :method", fields: []string{":method", "GET @/smuggled"}},
	{name: ":method that is missing", fields: []string{":method", "-"}},
	{name: "CRLF in :authority", fields: []string{":authority", "a.test\r\nx: y"}},
	{name: "a path in :authority", fields: []string{":authority", "a.test/smuggled"}},
	{name: "a user in :authority", fields: []string{":authority", "b.test@a.test"}},
	{name: "host beside :authority, the same", fields: []string{"host", "a.test"}, whole: 1},
	{name: "host beside :authority, another", fields: []string{"host", "b.test"}},
	{name: "host without :authority", fields: []string{":authority", "-", "host", "a.test"}, whole: 1},
	{name: "two hosts", fields: []string{"host", "a.test", "host", "b.test"}},
	{name: "CRLF in :scheme", fields: []string{":scheme", "https\r\nx: y"}},
	{name: ":scheme with a URL in it", fields: []string{":scheme", "https://b.test/?"}},
	{name: "a pseudo-header behind a field", fields: []string{"x", "y", ":path", "@/smuggled"}},
	{name: "a pseudo-header that nobody knows", fields: []string{":x", "y"}},
	{name: ":protocol without CONNECT", fields: []string{":protocol", "websocket"}},
	{name: "CONNECT", fields: []string{":method", "CONNECT", ":path", "-", ":scheme", "-"}},
	{name: "x-forwarded-for of the client", fields: []string{"x-forwarded-for", "192.0.2.1", "x_forwarded_for", "192.0.2.1"}, whole: 1},
	{name: "te that is not trailers", fields: []string{"te", "chunked"}},
	{name: "a cookie in two", fields: []string{"cookie", "a=b", "cookie", "c=d"}, whole: 1},
	{name: "expect", fields: []string{":method", "POST", "expect", "100-continue", "content-length", "5"}, body: "hello", whole: 1},
}

// downgrade sends a request as raw frames.
func (s *site) downgrade(d *downgrade, path string) error {
	c, err := s.tls("h2")
	if err != nil {
		return err
	}
	defer c.Close()
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	given := map[string]bool{}
	for i := 0; i < len(d.fields); i += 2 {
		given[d.fields[i]] = true
	}
	put := func(name, value string) {
		// Errors of a bytes.Buffer do not happen.
		_ = enc.WriteField(hpack.HeaderField{Name: name, Value: string(bytes.ReplaceAll([]byte(value), []byte("@/"), []byte(path+"/")))})
	}
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", "@/first"}} {
		if !given[f[0]] {
			put(f[0], f[1])
		}
	}
	for i := 0; i < len(d.fields); i += 2 {
		if d.fields[i+1] != "-" {
			put(d.fields[i], d.fields[i+1])
		}
	}
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		return err
	}
	f := http2.NewFramer(c, c)
	f.AllowIllegalWrites = true
	if err := f.WriteSettings(); err != nil {
		return err
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: d.body == "", EndHeaders: true}); err != nil {
		return err
	}
	if d.body != "" {
		if err := f.WriteData(1, true, bytes.ReplaceAll([]byte(d.body), []byte("@/"), []byte(path+"/"))); err != nil {
			return err
		}
	}
	// Each case is answered, refused or closed.
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return nil
		}
		if h := frame.Header(); h.StreamID == 1 && (h.Type == http2.FrameRSTStream || h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders)) {
			return nil
		}
	}
}
