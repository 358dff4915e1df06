package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/platformd/platformd/internal/worker/link"
)

// webCerts holds the certificates of a proxy worker in memory and asks the daemon for those it has not got. It implements
// proxy.Certificates.
type webCerts struct {
	link    atomic.Pointer[link.Link]
	now     func() time.Time
	flight  singleflight.Group
	pending chan struct{} // bounds the names that are asked for at once

	mu       sync.RWMutex
	have     map[string]*tls.Certificate // by name or wildcard
	stranger *tls.Certificate            // for names that nobody has a route for
	absent   map[string]time.Time        // such names, and until when they are not asked for again
	tokens   map[string]string
	alpn     map[string]*tls.Certificate
}

const (
	absentFor  = 10 * time.Second
	maxAbsent  = 10_000
	maxPending = 32
	maxCerts   = 20_000
)

var errNoCertificate = errors.New("no certificate for this name")

func newWebCerts(now func() time.Time) *webCerts {
	return &webCerts{now: now, pending: make(chan struct{}, maxPending), have: map[string]*tls.Certificate{}, absent: map[string]time.Time{}}
}

// Certificate implements proxy.Certificates.
func (w *webCerts) Certificate(ctx context.Context, name string) (*tls.Certificate, error) {
	if c, known := w.cached(name); known {
		if c == nil {
			return nil, errNoCertificate
		}
		return c, nil
	}
	return w.fetch(ctx, name)
}

// cached is what is known of a name. An exact certificate comes before a wildcard.
func (w *webCerts) cached(name string) (c *tls.Certificate, known bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if c = w.have[name]; c != nil {
		return c, true
	}
	if c = w.have[wildcard(name)]; c != nil {
		return c, true
	}
	return w.stranger, w.now().Before(w.absent[name])
}

// wildcard is the one that a name falls under.
func wildcard(name string) string {
	_, rest, ok := strings.Cut(name, ".")
	if !ok {
		return ""
	}
	return "*." + rest
}

// fetch asks the daemon. However many handshakes want a name, it is asked once.
func (w *webCerts) fetch(ctx context.Context, name string) (*tls.Certificate, error) {
	select {
	case w.pending <- struct{}{}:
		defer func() { <-w.pending }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ch := w.flight.DoChan(name, func() (any, error) {
		l := w.link.Load()
		if l == nil {
			return nil, errNoCertificate
		}
		// Not the context of one handshake: others wait for the same answer.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var p WebPair
		err := l.Ask(ctx, webCertificate, name, &p)
		if _, said := errors.AsType[*link.RemoteError](err); said {
			w.remember(name, "", nil)
			return nil, errNoCertificate
		}
		if err != nil {
			return nil, err
		}
		c, err := p.load()
		if err != nil {
			return nil, err
		}
		w.remember(name, p.For, c)
		return c, nil
	})
	select {
	case r := <-ch:
		c, _ := r.Val.(*tls.Certificate)
		return c, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// remember keeps c under what it was made for.
func (w *webCerts) remember(name, of string, c *tls.Certificate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if of != "" && c != nil {
		if len(w.have) >= maxCerts {
			clear(w.have)
		}
		w.have[of] = c
		delete(w.absent, name)
		return
	}
	w.stranger = c
	if len(w.absent) >= maxAbsent {
		clear(w.absent)
	}
	w.absent[name] = w.now().Add(absentFor)
}

// refresh fetches names anew; what is there serves until then, and where the daemon has nothing any more.
func (w *webCerts) refresh(ctx context.Context, names []string) {
	for _, name := range names {
		w.mu.Lock()
		delete(w.absent, name)
		w.mu.Unlock()
		_, _ = w.fetch(ctx, name)
	}
}

// prefetch asks for names that are not there yet.
func (w *webCerts) prefetch(ctx context.Context, names []string) {
	for _, name := range names {
		w.mu.Lock()
		_, have := w.have[name]
		delete(w.absent, name)
		w.mu.Unlock()
		if !have {
			_, _ = w.fetch(ctx, name)
		}
	}
}

// Expiry implements proxy.Expiring.
func (w *webCerts) Expiry() map[string]time.Time {
	w.mu.RLock()
	defer w.mu.RUnlock()
	out := make(map[string]time.Time, len(w.have))
	for name, c := range w.have {
		out[name] = c.Leaf.NotAfter
	}
	return out
}

// Challenge implements proxy.Certificates.
func (w *webCerts) Challenge(name string) *tls.Certificate {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.alpn[name]
}

// Token implements proxy.Certificates.
func (w *webCerts) Token(token string) string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.tokens[token]
}

// challenge takes all answers to challenges.
func (w *webCerts) challenge(c Challenges) error {
	alpn := map[string]*tls.Certificate{}
	for name, p := range c.ALPN {
		cert, err := p.load()
		if err != nil {
			return err
		}
		alpn[name] = cert
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens, w.alpn = c.Tokens, alpn
	return nil
}
