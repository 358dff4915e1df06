// Package issue talks to certificate authorities. It reads what strangers answer, so it runs in a process that has nothing
// to lose, one job at a time.
//
// For a single name and the challenges http-01 and tls-alpn-01 an order is golang.org/x/crypto/acme/autocert's: one Manager
// for one order and one challenge, asked as a handshake would, whose cache is the dialogue with the daemon. What autocert
// has no word for (dns-01, wildcards, profiles) is ordered with the package acme below it, with the same account and the
// same entries in the cache: TOKEN+http-01 is the answer to a token, NAME+token the certificate for a TLS challenge, NAME
// the key with its chain.
//
// It keeps nothing, and decides nothing but which challenge comes next.
package issue

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/dns"
)

// Run does one job. A job that fails is a result.
func Run(ctx context.Context, job order.Job, cache order.Cache) order.Result {
	switch job.Kind {
	case order.Records:
		return records(ctx, job)
	case order.Staple:
		return staple(ctx, job)
	}
	c, err := newConversation(job, cache, "")
	if err != nil {
		return order.Result{Error: err.Error()}
	}
	switch job.Kind {
	case order.Renewal:
		return c.renewal(ctx)
	case order.Directory:
		return c.directory(ctx)
	case order.Issue:
		return issue(ctx, job, cache)
	}
	return order.Result{Error: fmt.Sprintf("kind %q is unknown", order.Clean(string(job.Kind)))}
}

// conversation is one job with one CA, or one try of it.
type conversation struct {
	job    order.Job
	client *acme.Client
	watch  *watch
	cache  dialogue
}

func newConversation(job order.Job, cache order.Cache, challenge string) (*conversation, error) {
	w, err := newWatch(job.Root, challenge)
	if err != nil {
		return nil, err
	}
	return &conversation{job: job, watch: w, cache: dialogue{cache}, client: &acme.Client{DirectoryURL: job.Directory,
		HTTPClient: &http.Client{Transport: w, Timeout: time.Minute}, UserAgent: job.UserAgent, RetryBackoff: backoff}}, nil
}

// dialogue makes the daemon's cache autocert's.
type dialogue struct{ order.Cache }

// Get implements autocert.Cache.
func (d dialogue) Get(ctx context.Context, key string) ([]byte, error) {
	v, err := d.Cache.Get(ctx, key)
	if errors.Is(err, order.ErrMiss) {
		err = autocert.ErrCacheMiss
	}
	return v, err
}

// backoff is when a request is tried again: at once where a nonce was stale, soon where the CA had a fault, never where
// it says that we ask too much, because the daemon is the one to wait.
func backoff(n int, _ *http.Request, resp *http.Response) time.Duration {
	switch {
	case resp == nil || resp.StatusCode == http.StatusTooManyRequests || n > 5:
		return -1
	case resp.StatusCode >= 500 && n > 2:
		return -1
	case resp.StatusCode >= 500:
		return time.Second
	}
	return 20 * time.Millisecond
}

// issue tries one challenge after the other, each in a conversation of its own: autocert still tidies up after one when the
// next has begun.
func issue(ctx context.Context, job order.Job, cache order.Cache) order.Result {
	if len(job.Names) == 0 || len(job.Tries) == 0 {
		return order.Result{Error: "the job has no name or no challenge"}
	}
	key, err := accountKey(job.Account)
	if err != nil {
		return order.Result{Error: err.Error()}
	}
	var reasons []string
	for i, challenge := range job.Tries {
		c, err := newConversation(job, cache, challenge)
		if err != nil {
			return order.Result{Error: err.Error()}
		}
		c.client.Key = key
		if len(job.Names) == 1 && job.Profile == "" && challenge != order.DNS01 {
			err = c.handshake(ctx, challenge)
		} else {
			err = c.order(ctx, challenge)
		}
		if err == nil {
			return order.Result{}
		}
		res := c.watch.explain(err)
		reasons = append(reasons, challenge+": "+res.Error)
		if !c.watch.another() || i == len(job.Tries)-1 {
			res.Error = order.Clean(strings.Join(reasons, "; "))
			return res
		}
	}
	return order.Result{Error: "no challenge was tried"}
}

func (c *conversation) binding() *acme.ExternalAccountBinding {
	if c.job.EABKID == "" {
		return nil
	}
	return &acme.ExternalAccountBinding{KID: c.job.EABKID, Key: c.job.EABKey}
}

// handshake makes an autocert.Manager believe that a client wants the name.
func (c *conversation) handshake(ctx context.Context, challenge string) error {
	name := c.job.Names[0]
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: c.cache, Client: c.client, Email: c.job.Email, ExternalAccountBinding: c.binding(),
		HostPolicy: func(_ context.Context, host string) error {
			if host != name {
				return fmt.Errorf("host %q was not asked for", host)
			}
			return nil
		},
	}
	if challenge == "http-01" {
		m.HTTPHandler(nil) // it is never served: the daemon answers from the cache
	}
	done := make(chan error, 1)
	go func() {
		_, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
			SupportedCurves: []tls.CurveID{tls.CurveP256}, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func accountKey(data []byte) (crypto.Signer, error) {
	b, _ := pem.Decode(data)
	if b == nil {
		return nil, errors.New("the job has no account key")
	}
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, errors.New("the account key cannot be read")
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the account key cannot sign")
	}
	return s, nil
}

// directory asks what the CA offers; it needs no account.
func (c *conversation) directory(ctx context.Context) order.Result {
	d, err := c.client.Discover(ctx)
	if err != nil {
		return c.watch.explain(err)
	}
	res := order.Result{Terms: d.Terms, NeedsEAB: d.ExternalAccountRequired, Issuers: d.CAA}
	for name := range d.Profiles {
		res.Profiles = append(res.Profiles, string(name))
	}
	slices.Sort(res.Profiles)
	return res
}

// records reads what a zone has of the names, or changes it.
func records(ctx context.Context, job order.Job) order.Result {
	if job.DNS == nil {
		return order.Result{Error: "the job has no DNS provider"}
	}
	z, err := dns.Open(*job.DNS)
	if err != nil {
		return order.Result{Error: order.Clean(err.Error())}
	}
	if err := z.Change(ctx, job.Changes); err != nil {
		return order.Result{Error: order.Clean(err.Error())}
	}
	list, err := z.Records(ctx, job.Names)
	if err != nil {
		return order.Result{Error: order.Clean(err.Error())}
	}
	return order.Result{Records: list}
}
