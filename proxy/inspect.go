package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/waf"
)

// maxInspect bounds the bodies that are held for inspection at once, in bytes.
const maxInspect = 256 << 20

// maxFound is how many rules are noted of one request.
const maxFound = 20

// load makes the engines of those routes that want one.
func (t *Table) load(l waf.Loader) error {
	var e field.Errors
	for i := range t.routes {
		r := t.routes[i]
		if r.WAF == nil || r.WAF.Mode == waf.Off {
			continue
		}
		err := errors.New("there is none in this program; remove it")
		if l != nil {
			r.waf, err = l.Load(r.WAF.Defaults())
		}
		if err != nil {
			e.Join(field.Index("routes", i)+".waf", err)
		}
	}
	return e.Err()
}

// inspected looks for attacks in a request, and reports whether it may go on. It answers where not.
func (s *Server) inspected(x *exchange) bool {
	rt := x.route
	if rt.waf == nil {
		return true
	}
	conf := rt.WAF.Defaults()
	block := conf.Mode == waf.Block
	body, whole, status, err := s.hold(x, conf.BodyLimit)
	switch {
	case status != 0:
		s.fail(x, status, "waf: "+err.Error())
		return false
	case !whole && block:
		s.fail(x, http.StatusRequestEntityTooLarge, fmt.Sprintf("waf: body is larger than the %d bytes that are looked at", conf.BodyLimit))
		return false
	}
	found, err := rt.waf.Inspect(&waf.Request{Request: x.request, Client: x.client, Port: x.conn.port, Body: body})
	if err != nil {
		s.cfg.Log.Error("inspect request", "error", err, "request", x.requestID())
		if block {
			s.fail(x, http.StatusInternalServerError, "waf: "+err.Error())
			return false
		}
		return true
	}
	x.found = found.Rules[:min(len(found.Rules), maxFound)]
	if !found.Refused || !block {
		return true
	}
	x.attack = true
	s.stats.blocked.Add(1)
	s.fail(x, http.StatusForbidden, fmt.Sprintf("waf: rule %d: %s", append(found.Rules, 0)[0], found.Message))
	return false
}

// hold reads a body up to a limit, and puts it back. whole is false where there is more of it.
func (s *Server) hold(x *exchange, limit int64) (body []byte, whole bool, status int, err error) {
	r := x.request
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true, 0, nil
	}
	if r.ContentLength > limit {
		return nil, false, 0, nil
	}
	size := limit
	if r.ContentLength >= 0 {
		size = r.ContentLength
	}
	if s.inspect.Add(size) > maxInspect {
		s.inspect.Add(-size)
		x.Header()["Retry-After"] = []string{"1"}
		return nil, false, http.StatusServiceUnavailable, errors.New("too many bodies are held already")
	}
	x.holds = size
	var b bytes.Buffer
	_, err = io.CopyN(&b, r.Body, limit+1)
	switch {
	case tooLarge(err):
		return nil, false, http.StatusRequestEntityTooLarge, err
	case err != nil && !errors.Is(err, io.EOF):
		return nil, false, http.StatusBadRequest, fmt.Errorf("read body: %w", err)
	}
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b.Bytes()), rest), rest}
	return b.Bytes()[:min(int64(b.Len()), limit)], int64(b.Len()) <= limit, 0, nil
}
