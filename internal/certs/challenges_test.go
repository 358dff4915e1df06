package certs

import "sync"

// Challenges is a Responder in memory. Its methods are safe for concurrent use.
type Challenges struct {
	mu   sync.Mutex
	http map[string]string
	tls  map[string]*Pair
}

// HTTP01 implements Responder.
func (c *Challenges) HTTP01(token, keyAuth string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http == nil {
		c.http = map[string]string{}
	}
	c.http[token] = keyAuth
}

// TLSALPN01 implements Responder.
func (c *Challenges) TLSALPN01(name string, cert *Pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tls == nil {
		c.tls = map[string]*Pair{}
	}
	c.tls[name] = cert
}

// Forget implements Responder.
func (c *Challenges) Forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.http, key)
	delete(c.tls, key)
}

// Token is the answer to a request for /.well-known/acme-challenge/TOKEN.
func (c *Challenges) Token(token string) (keyAuth string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keyAuth, ok = c.http[token]
	return keyAuth, ok
}

// TLS is the certificate for a handshake that offers acme-tls/1 alone, for a name.
func (c *Challenges) TLS(name string) (*Pair, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.tls[name]
	return p, ok
}
