package issue

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/dns"
)

// cleanUp is how long what was put up for a challenge may take to be removed.
const cleanUp = time.Minute

// order goes through an order by hand (RFC 8555, section 7.1).
func (c *conversation) order(ctx context.Context, challenge string) error {
	account := &acme.Account{ExternalAccountBinding: c.binding()}
	if c.job.Email != "" {
		account.Contact = []string{"mailto:" + c.job.Email}
	}
	if _, err := c.client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return err
	}
	var options []acme.OrderOption
	if c.job.Profile != "" {
		options = append(options, acme.WithOrderIssuanceProfile(acme.ProfileName(c.job.Profile)))
	}
	o, err := c.client.AuthorizeOrder(ctx, acme.DomainIDs(c.job.Names...), options...)
	if err != nil {
		return err
	}
	for _, url := range o.AuthzURLs {
		if err := c.authorize(ctx, url, challenge); err != nil {
			return err
		}
	}
	if o, err = c.client.WaitOrder(ctx, o.URI); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: c.job.Names}, key)
	if err != nil {
		return err
	}
	chain, _, err := c.client.CreateCertFromOrder(ctx, o, csr, true)
	if err != nil {
		return err
	}
	bundle, err := encode(&tls.Certificate{Certificate: chain, PrivateKey: key})
	if err != nil {
		return err
	}
	return c.cache.Put(ctx, c.job.Names[0], bundle)
}

// authorize proves one name. What was put up for that is taken down again in any case.
func (c *conversation) authorize(ctx context.Context, url, challenge string) error {
	z, err := c.client.GetAuthorization(ctx, url)
	if err != nil || z.Status == acme.StatusValid {
		return err
	}
	for _, ch := range z.Challenges {
		if ch.Type != challenge {
			continue
		}
		down, err := c.putUp(ctx, ch, z.Identifier.Value)
		if err != nil {
			return fmt.Errorf("%s for %s: %w", challenge, z.Identifier.Value, err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
			defer cancel()
			_ = down(ctx) // the order does not depend on it, and a record of a past challenge proves nothing
		}()
		if _, err := c.client.Accept(ctx, ch); err != nil {
			return err
		}
		_, err = c.client.WaitAuthorization(ctx, z.URI)
		return err
	}
	return fmt.Errorf("the CA offers no %s for %s", challenge, z.Identifier.Value)
}

// putUp makes the proof visible to the CA.
func (c *conversation) putUp(ctx context.Context, ch *acme.Challenge, name string) (down func(context.Context) error, err error) {
	var key string
	var value []byte
	switch ch.Type {
	case "http-01":
		answer, err := c.client.HTTP01ChallengeResponse(ch.Token)
		if err != nil {
			return nil, err
		}
		key, value = ch.Token+"+http-01", []byte(answer)
	case "tls-alpn-01":
		cert, err := c.client.TLSALPN01ChallengeCert(ch.Token, name)
		if err != nil {
			return nil, err
		}
		key = name + "+token"
		if value, err = encode(&cert); err != nil {
			return nil, err
		}
	case order.DNS01:
		text, err := c.client.DNS01ChallengeRecord(ch.Token)
		if err != nil {
			return nil, err
		}
		if c.job.DNS == nil {
			return nil, errors.New("no DNS provider has this name's zone")
		}
		zone, err := dns.Open(*c.job.DNS)
		if err != nil {
			return nil, err
		}
		return zone.Present(ctx, "_acme-challenge."+name, text)
	}
	return func(ctx context.Context) error { return c.cache.Delete(ctx, key) }, c.cache.Put(ctx, key, value)
}

// encode is a key with its chain in PEM, as autocert keeps them.
func encode(c *tls.Certificate) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key}) // a buffer takes everything
	for _, der := range c.Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.Bytes(), nil
}
