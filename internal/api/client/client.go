// Package client talks to platformd over its unix socket.
//
// The model in words. There is one method for each route, with the types of package wire. A refusal is a *wire.Problem,
// found with errors.As, whose code says what kind it is; a daemon that is not there is an *UnreachableError. Streams are
// iterators that end with their context. A Client opens one connection when it is first used; it starts nothing by itself,
// keeps nothing, and tries nothing twice.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/platformd/platformd/internal/api/wire"
)

// Client is one daemon. Its methods are safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

// New makes a client of the daemon that listens on socket. It does not connect yet.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, &UnreachableError{Socket: socket, Cause: err}
		}
		return c, nil
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}}
}

// UnreachableError says that nobody answers on the socket.
type UnreachableError struct {
	Socket string
	Cause  error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("platformd on %s: %v", e.Socket, e.Cause)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Cause }

// request is one call of a route.
type request struct {
	method, path string
	query        url.Values
	body         any // JSON of it, or a []byte as it is
}

// send makes the call; the response has status 200.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	kind := "application/json"
	switch b := r.body.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(b), "application/yaml"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		body = bytes.NewReader(data)
	}
	u := url.URL{Scheme: "http", Host: "platformd", Path: "/v1" + r.path, RawQuery: r.query.Encode()}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var gone *UnreachableError
		if errors.As(err, &gone) {
			return nil, gone
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// The daemon ended in the middle of the call.
		return nil, &UnreachableError{Socket: c.socket, Cause: errors.Unwrap(err)}
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, problemOf(resp)
	}
	return resp, nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 20

func problemOf(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	var p wire.Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Code == "" {
		return &wire.Problem{Status: resp.StatusCode, Title: resp.Status, Code: wire.CodeInternal, Detail: fmt.Sprintf("unexpected answer %s: %.200q", resp.Status, data)}
	}
	return &p
}

// call makes the call and reads its answer.
func call[O any](ctx context.Context, c *Client, r request) (O, error) {
	var out O
	resp, err := c.send(ctx, r)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out); err != nil {
		return out, fmt.Errorf("read answer of %s %s: %w", r.method, r.path, err)
	}
	return out, nil
}

// options are o as query parameters.
func options(o wire.Options) url.Values {
	q := url.Values{}
	if o.DryRun {
		q.Set("dry_run", "true")
	}
	if o.Force {
		q.Set("force", "true")
	}
	if o.Base != 0 {
		q.Set("base", fmt.Sprint(o.Base))
	}
	return q
}

func with(q url.Values, key string, values ...string) url.Values {
	if q == nil {
		q = url.Values{}
	}
	for _, v := range values {
		if v != "" {
			q.Add(key, v)
		}
	}
	return q
}
