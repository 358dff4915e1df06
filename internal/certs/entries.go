package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/internal/certs/order"
)

// entries is the cache of one order: what autocert would keep in one. It believes nothing: an answer to a token must be
// that of our own account, a certificate for a challenge one for a name of the order, and the certificate at last must be
// what was ordered.
type entries struct {
	m     *Manager
	job   order.Job
	thumb string

	mu   sync.Mutex
	kept []string
	got  *issued
	// refused is why a certificate was not taken: autocert does not pass it on.
	refused error
}

func (m *Manager) newEntries(job order.Job) (*entries, error) {
	key, err := parseKey(job.Account)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("account: its key is no ECDSA key")
	}
	thumb, err := thumbprint(pub)
	return &entries{m: m, job: job, thumb: thumb}, err
}

// thumbprint names a key as ACME does (RFC 7638).
func thumbprint(pub *ecdsa.PublicKey) (string, error) {
	point, err := pub.Bytes() // 4, then both coordinates
	if err != nil {
		return "", err
	}
	e, half := base64.RawURLEncoding, (len(point)-1)/2
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":"EC","x":%q,"y":%q}`, pub.Params().Name, e.EncodeToString(point[1:1+half]), e.EncodeToString(point[1+half:])))
	return e.EncodeToString(sum[:]), nil
}

// What the keys of a cache end with, as autocert has them.
const (
	endHTTP = "+http-01"
	endTLS  = "+token"
)

// Get implements order.Cache. A certificate is never in the cache: an order is made to get another one.
func (e *entries) Get(ctx context.Context, key string) ([]byte, error) {
	e.mu.Lock()
	ours := slices.Contains(e.kept, key)
	e.mu.Unlock()
	if !ours {
		return nil, order.ErrMiss
	}
	v, ok, err := e.m.cfg.Store.kept(ctx, key)
	if err == nil && !ok {
		err = order.ErrMiss
	}
	return v, err
}

// Put implements order.Cache.
func (e *entries) Put(ctx context.Context, key string, value []byte) error {
	if len(value) > maxChain+maxKey {
		return errors.New("the entry is too large")
	}
	if key == e.job.Names[0] {
		pair := Pair{Chain: value, Key: value}
		e.mu.Lock()
		defer e.mu.Unlock()
		c, err := Inspect(pair, e.job.Names, e.m.cfg.Now())
		if err == nil {
			pair, err = tidyPair(pair)
		}
		if e.refused = err; err != nil {
			return err
		}
		c.Chain = pair.Chain
		e.got = &issued{cert: c, pair: pair}
		return nil
	}
	show, err := e.check(key, value)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.kept, key) {
		if len(e.kept) >= 20 {
			return errors.New("too many entries")
		}
		e.kept = append(e.kept, key)
	}
	if err := e.m.cfg.Store.keep(ctx, key, value); err != nil {
		return err
	}
	show()
	return nil
}

// check says how an entry is shown to the world, or why not.
func (e *entries) check(key string, value []byte) (show func(), err error) {
	if token, ok := strings.CutSuffix(key, endHTTP); ok {
		if len(token) < 8 || len(token) > 256 || strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return nil, errors.New("the token is no token")
		}
		if string(value) != token+"."+e.thumb {
			return nil, errors.New("the answer to the token is not that of our account")
		}
		return func() { e.m.cfg.Responder.HTTP01(token, string(value)) }, nil
	}
	if name, ok := strings.CutSuffix(key, endTLS); ok {
		if !slices.Contains(e.job.Names, name) {
			return nil, errors.New("the challenge is for a name that was not ordered")
		}
		p, err := challengePair(name, value)
		if err != nil {
			return nil, err
		}
		return func() { e.m.cfg.Responder.TLSALPN01(name, p) }, nil
	}
	return nil, errors.New("an order has no such entry")
}

// challengePair reads a certificate that answers a tls-alpn-01 challenge (RFC 8737): self-signed, for one name, and of no
// use for anything else because of its critical extension.
func challengePair(name string, value []byte) (*Pair, error) {
	p, err := tidyPair(Pair{Chain: value, Key: value})
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(p.Chain)
	if err != nil {
		return nil, err
	}
	acmeIdentifier := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}
	leaf := chain[0]
	marked := slices.ContainsFunc(leaf.UnhandledCriticalExtensions, func(id asn1.ObjectIdentifier) bool { return id.Equal(acmeIdentifier) })
	if len(chain) != 1 || !marked || !slices.Equal(leaf.DNSNames, []string{name}) {
		return nil, errors.New("the certificate does not answer a challenge for " + name)
	}
	return &p, nil
}

// tidyPair takes a bundle apart, and leaves out what stands around.
func tidyPair(p Pair) (Pair, error) {
	chain, err := parseChain(p.Chain)
	if err != nil {
		return Pair{}, err
	}
	key, err := parseKey(p.Key)
	if err != nil {
		return Pair{}, err
	}
	ders := make([][]byte, len(chain))
	for i, c := range chain {
		ders[i] = c.Raw
	}
	out := Pair{Chain: encodeChain(ders...)}
	out.Key, err = encodeKey(key)
	return out, err
}

// Delete implements order.Cache.
func (e *entries) Delete(ctx context.Context, key string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.Index(e.kept, key)
	if i < 0 {
		return nil
	}
	e.kept = slices.Delete(e.kept, i, i+1)
	return e.forget(ctx, key)
}

func (e *entries) forget(ctx context.Context, key string) error {
	e.m.cfg.Responder.Forget(strings.TrimSuffix(strings.TrimSuffix(key, endHTTP), endTLS))
	return e.m.cfg.Store.forget(ctx, key)
}

// clear takes back what the order left.
func (e *entries) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range e.kept {
		if err := e.forget(ctx, key); err != nil {
			e.m.cfg.Log.Error("clear what an order left", "error", err)
		}
	}
	e.kept = nil
}

// certificate is what came of the order.
func (e *entries) certificate() (*issued, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.refused != nil:
		return nil, fmt.Errorf("what was issued is not what was ordered: %w", e.refused)
	case e.got == nil:
		return nil, errors.New("the order was done, but no certificate came of it")
	}
	return e.got, nil
}
