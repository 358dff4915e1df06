package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/announce"
	"github.com/platformd/platformd/proxy/header"
	"github.com/platformd/platformd/proxy/upstream"
	"github.com/platformd/platformd/proxy/upstream/h1"
	"github.com/platformd/platformd/proxy/wire"
)

// forwarder sends requests on to a group of back ends.
type forwarder struct {
	base     string // path of the back end, encoded
	group    *upstream.Handle
	keepHost bool
}

// forwarding is one request on its way. It is used again for others.
type forwarding struct {
	h1.Request
	x      *exchange
	out    http.ResponseWriter
	text   []byte  // of which the headers about the client are made
	buffer *[]byte // that holds Data
}

var forwardings = sync.Pool{New: func() any { return new(forwarding) }}

// maxData is how much of a request body is read before the request goes on, which then needs no second goroutine and can be
// sent again.
const maxData = 32 << 10

// ServeHTTP implements http.Handler.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(w)
	o := forwardings.Get().(*forwarding)
	defer o.free()
	o.x, o.out = x, w
	before := cloneSome(w.Header())
	f.head(o, r)
	err := o.body(r)
	var resp *h1.Response
	if err == nil {
		ctx := r.Context()
		if f.group.Announces() {
			ctx = announce.With(ctx, x.parties())
		}
		resp, err = f.group.Do(ctx, &o.Request, x.client)
	}
	if err != nil {
		x.conn.server.failed(x, r, err)
		return
	}
	defer resp.Body.Close()
	if resp.Status == http.StatusSwitchingProtocols {
		o.tunnel(resp)
		return
	}
	o.answer(r, resp, before)
}

// parties are the ends of the client's connection; of a client that another proxy told of by a header, the port is not known.
func (x *exchange) parties() announce.Parties {
	p := announce.Parties{From: netip.AddrPortFrom(x.client, 0), To: x.conn.local}
	if x.client == x.conn.peer {
		p.From = netip.AddrPortFrom(x.client, x.conn.peerPort)
	}
	return p
}

func (o *forwarding) free() {
	if o.buffer != nil {
		buffers.Put(o.buffer)
	}
	fields := o.Fields[:0]
	clear(o.Fields)
	*o = forwarding{text: o.text[:0]}
	o.Fields = fields
	forwardings.Put(o)
}

// cloneSome is h as it is now; most often there is nothing in it.
func cloneSome(h http.Header) http.Header {
	if len(h) == 0 {
		return nil
	}
	return h.Clone()
}

// head says what is sent.
func (f *forwarder) head(o *forwarding, r *http.Request) {
	x := o.x
	o.Method, o.Into, o.Interim, o.Stop = r.Method, o.out.Header(), o.inform, x.stopBody
	o.Target = joinPath(f.base, x.target())
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		o.Target += "?" + r.URL.RawQuery
	}
	o.Host, o.OwnHost = r.Host, !f.keepHost
	if isWebSocket(r) {
		o.Upgrade = "websocket"
	}
	o.TrailersOK = httpguts.HeaderValuesContainsToken(r.Header["Te"], "trailers")
	o.fields(r)
	o.describe(r)
}

// fields takes what goes from end to end and is not ours to say.
func (o *forwarding) fields(r *http.Request) {
	options := r.Header["Connection"]
	if len(options) == 1 && (strings.EqualFold(options[0], "keep-alive") || strings.EqualFold(options[0], "close")) {
		options = nil
	}
	for name, values := range r.Header {
		if header.HopByHop(name) || described(name) || options != nil && httpguts.HeaderValuesContainsToken(options, name) {
			continue
		}
		for _, v := range values {
			o.add(name, v)
		}
	}
}

// described reports whether a header is one that is written anew for each request.
func described(name string) bool {
	switch name {
	case "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "X-Request-Id", "Via", "Expect", "Content-Length", "Host":
		return true
	}
	return false
}

// add appends a field, if the route does not want it otherwise.
func (o *forwarding) add(name, value string) {
	rt := o.x.route
	if len(rt.RequestHeaders.Remove) > 0 && slices.Contains(rt.RequestHeaders.Remove, name) {
		return
	}
	for i := range rt.setReq {
		if rt.setReq[i].name == name {
			return
		}
	}
	o.Fields = append(o.Fields, h1.Field{Name: name, Value: value})
}

// describe tells the back end of the client (RFC 7239, and the headers that came before it).
func (o *forwarding) describe(r *http.Request) {
	x := o.x
	proto, host := x.conn.scheme(), r.Host
	var chain []string
	if x.trusted {
		chain = r.Header["X-Forwarded-For"]
		if v := r.Header.Get("X-Forwarded-Proto"); v == "http" || v == "https" {
			proto = v
		}
		if v := r.Header.Get("X-Forwarded-Host"); v != "" {
			host = v
		}
	}
	// One string for all.
	t := o.text[:0]
	for _, c := range chain {
		t = append(append(t, c...), ", "...)
	}
	t = x.conn.peer.AppendTo(t)
	chainEnd := len(t)
	t = x.client.AppendTo(t)
	clientEnd := len(t)
	t = append(t, "for="...)
	if x.client.Is6() {
		t = append(t, `"[`...)
		t = x.client.AppendTo(t)
		t = append(t, `]"`...)
	} else {
		t = x.client.AppendTo(t)
	}
	t = append(t, `;host="`...)
	for i := 0; i < len(host); i++ {
		if c := host[i]; c != '"' && c != '\\' {
			t = append(t, c)
		}
	}
	t = append(append(t, `";proto=`...), proto...)
	o.text = t
	s := string(t)
	o.add("X-Forwarded-For", s[:chainEnd])
	o.add("X-Forwarded-Proto", proto)
	o.add("X-Forwarded-Host", host)
	o.add("X-Real-Ip", s[chainEnd:clientEnd])
	o.add("Forwarded", s[clientEnd:])
	o.add("X-Request-Id", x.requestID())
	for _, v := range r.Header["Via"] {
		o.add("Via", v)
	}
	o.add("Via", via(r.ProtoMajor, r.ProtoMinor)[0])
	for i := range x.route.setReq {
		v := &x.route.setReq[i]
		o.Fields = append(o.Fields, h1.Field{Name: v.name, Value: expand(v.parts, x)})
	}
}

// via is what a message that came by a protocol gets as Via. It is shared, and must not be appended to.
func via(major, minor int) []string {
	switch {
	case major == 1 && minor == 1:
		return via11
	case major == 2:
		return via20
	}
	return []string{strconv.Itoa(major) + "." + strconv.Itoa(minor) + " platformd"}
}

var via11, via20 = []string{"1.1 platformd"}, []string{"2.0 platformd"}

// body says what is sent behind the head.
func (o *forwarding) body(r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	o.Expect = httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue")
	if n := r.ContentLength; n > 0 && n <= maxData && !o.Expect && len(r.Trailer) == 0 {
		o.buffer = buffers.Get().(*[]byte)
		o.Data = (*o.buffer)[:n]
		if _, err := io.ReadFull(r.Body, o.Data); err != nil {
			return &h1.BodyError{Err: err}
		}
		return nil
	}
	o.Length, o.Body = r.ContentLength, r.Body
	if o.Length < 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		// HTTP/3 does not say in the head whether there is a body, and with these there hardly ever is.
		if err := o.probe(r); err != nil || o.Body == nil {
			return err
		}
	}
	for name := range r.Trailer {
		if !wire.Framing([]byte(name)) {
			o.Announced = append(o.Announced, name)
		}
	}
	o.Trailer = func() http.Header {
		if t := o.x.request.Trailer; t != nil {
			return t
		}
		return r.Trailer
	}
	// The answer may come before the end of the body; for HTTP/1 the server has to be told.
	_ = http.NewResponseController(o.out).EnableFullDuplex()
	return nil
}

// probe looks whether there is a body at all.
func (o *forwarding) probe(r *http.Request) error {
	o.buffer = buffers.Get().(*[]byte)
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = r.Body.Read(*o.buffer)
	}
	switch {
	case err == io.EOF:
		o.Body, o.Length = nil, 0
		o.Data = (*o.buffer)[:n]
		if n == 0 {
			o.Data = nil
		}
		return nil
	case err != nil:
		return &h1.BodyError{Err: err}
	}
	o.Body = io.MultiReader(bytes.NewReader((*o.buffer)[:n]), r.Body)
	return nil
}

// target is the path that the back end's own is put before.
func (x *exchange) target() string {
	if x.route.Exact {
		return x.path
	}
	return x.route.rest(x.path)
}

// setPath puts an encoded path into a URL so that it is sent as it is.
func setPath(u *url.URL, encoded string) error {
	plain, err := url.PathUnescape(encoded)
	if err != nil {
		return err
	}
	u.Path, u.RawPath = plain, encoded
	if plain == encoded {
		u.RawPath = ""
	}
	return nil
}
