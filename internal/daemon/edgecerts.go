package daemon

import (
	"context"
	"maps"
	"time"

	"github.com/platformd/platformd/internal/certs"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/worker"
)

// certificate answers the proxy worker.
func (d *Daemon) certificate(_ context.Context, name string) (worker.WebPair, error) {
	c, err := d.certs.Certificate(name)
	if err != nil {
		return worker.WebPair{}, err
	}
	return worker.WebPair{For: c.Name, Chain: c.Chain, Key: []byte(c.Key), Staple: c.Staple}, nil
}

// routeNames are the names that the proxy needs certificates for.
func (d *Daemon) routeNames() []string {
	s, _ := d.store.Current()
	c := host.Proxy(&s)
	if d.cfg.HTTPS == "" {
		return c.StreamNames()
	}
	return c.Names()
}

// challenger shows through the proxy what a CA asks for. It implements certs.Responder.
type challenger struct{ d *Daemon }

// HTTP01 implements certs.Responder.
func (c challenger) HTTP01(token, keyAuth string) {
	c.d.edge.publish(func(all *worker.Challenges) { all.Tokens[token] = keyAuth })
}

// TLSALPN01 implements certs.Responder.
func (c challenger) TLSALPN01(name string, cert *certs.Pair) {
	c.d.edge.publish(func(all *worker.Challenges) {
		all.ALPN[name] = worker.WebPair{For: name, Chain: cert.Chain, Key: []byte(cert.Key)}
	})
}

// Forget implements certs.Responder.
func (c challenger) Forget(key string) {
	c.d.edge.publish(func(all *worker.Challenges) { delete(all.Tokens, key); delete(all.ALPN, key) })
}

// publish changes the answers to challenges, and returns when the worker has them. Without one, the next gets them.
func (e *edge) publish(change func(*worker.Challenges)) {
	e.mu.Lock()
	next := worker.Challenges{Tokens: map[string]string{}, ALPN: map[string]worker.WebPair{}}
	maps.Copy(next.Tokens, e.challenges.Tokens)
	maps.Copy(next.ALPN, e.challenges.ALPN)
	change(&next)
	e.challenges = next
	p := e.process
	e.mu.Unlock()
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Challenge(ctx, next); err != nil {
		e.cfg.Log.Warn("publish a challenge", "error", err)
	}
}

// refresh has the worker fetch certificates that have changed. It does not wait for it.
func (e *edge) refresh(names []string) {
	p := e.worker()
	if p == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Refresh(ctx, names); err != nil {
			e.cfg.Log.Warn("tell the proxy of new certificates", "error", err)
		}
	}()
}
