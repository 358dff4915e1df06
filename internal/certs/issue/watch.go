package issue

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/internal/certs/order"
)

// maxAnswer bounds what a CA may answer to one request.
const maxAnswer = 1 << 20

// watch is the way to a CA. It remembers what the CA said was wrong, which autocert does not tell, and shows autocert
// only the challenge that is to be tried, which it cannot be told.
type watch struct {
	next http.RoundTripper
	only string // the one challenge to be shown; empty shows all

	mu         sync.Mutex
	problem    *problem
	refused    bool // the problem is that of a challenge: another one may work
	retryAfter time.Duration
}

// problem is an error as ACME has it (RFC 8555, section 6.7).
type problem struct {
	Type        string    `json:"type"`
	Detail      string    `json:"detail"`
	Subproblems []problem `json:"subproblems"`
}

const namespace = "urn:ietf:params:acme:error:"

func newWatch(root, only string) (*watch, error) {
	t := &http.Transport{TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if root != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(root)) {
			return nil, errors.New("the root of the CA cannot be read: it must be a certificate in PEM")
		}
	}
	return &watch{next: t, only: only}, nil
}

// RoundTrip implements http.RoundTripper.
func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	resp.Body.Close()
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the CA answered with more than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode >= 400:
		w.failed(resp, body)
	case bytes.Contains(body, []byte(`"challenges"`)):
		body = w.authorization(body)
	case bytes.Contains(body, []byte(`"finalize"`)):
		w.order(body)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func (w *watch) failed(resp *http.Response, body []byte) {
	p := &problem{}
	if json.Unmarshal(body, p) != nil || p.Type == "" {
		p = &problem{Detail: "the CA answered " + strconv.Itoa(resp.StatusCode)}
	}
	if p.Type == namespace+"badNonce" { // tried again at once
		return
	}
	if resp.StatusCode >= 500 {
		p.Type = order.Unreachable
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused { // what follows a refused challenge says less than it
		return
	}
	w.problem, w.retryAfter = p, retryAfter(resp.Header.Get("Retry-After"), time.Now())
}

// authorization remembers why a challenge was refused, and leaves out challenges that are not to be tried.
func (w *watch) authorization(body []byte) []byte {
	var a map[string]json.RawMessage
	var challenges []struct {
		Type  string   `json:"type"`
		Error *problem `json:"error"`
	}
	var raw []json.RawMessage
	if json.Unmarshal(body, &a) != nil || json.Unmarshal(a["challenges"], &challenges) != nil || json.Unmarshal(a["challenges"], &raw) != nil {
		return body
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var shown []json.RawMessage
	for i, c := range challenges {
		if c.Error != nil {
			w.problem, w.refused = c.Error, true
		}
		if w.only == "" || c.Type == w.only {
			shown = append(shown, raw[i])
		}
	}
	if len(shown) == len(raw) {
		return body
	}
	list, err := json.Marshal(shown)
	if err != nil {
		return body
	}
	a["challenges"] = list
	out, err := json.Marshal(a)
	if err != nil {
		return body
	}
	return out
}

// order remembers why an order ended badly.
func (w *watch) order(body []byte) {
	var o struct {
		Error *problem `json:"error"`
	}
	if json.Unmarshal(body, &o) != nil || o.Error == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.refused {
		w.problem = o.Error
	}
}

// explain makes a result of an error: what the CA said, where it said something.
func (w *watch) explain(err error) order.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.problem == nil {
		res := order.Result{Error: order.Clean(err.Error())}
		// Nothing was answered at all: it is not there, or it is not what it should be.
		if _, ok := errors.AsType[*url.Error](err); ok || errors.Is(err, context.DeadlineExceeded) {
			res.Problem = order.Unreachable
		}
		return res
	}
	kind := strings.TrimPrefix(w.problem.Type, namespace)
	if !order.Word(kind) { // of another namespace, or nonsense: the text still says something
		kind = ""
	}
	text := w.problem.Detail
	for _, s := range w.problem.Subproblems[:min(len(w.problem.Subproblems), 5)] {
		text += "; " + s.Detail
	}
	if kind != "" && kind != order.Unreachable {
		text = kind + ": " + text
	}
	return order.Result{Error: order.Clean(text), Problem: kind, RetryAfter: w.retryAfter}
}

// another reports whether a try with another challenge makes sense.
func (w *watch) another() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused && w.problem != nil && !slices.Contains([]string{namespace + "rateLimited", namespace + "caa", namespace + "rejectedIdentifier"}, w.problem.Type)
}

// retryAfter reads the header: seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
