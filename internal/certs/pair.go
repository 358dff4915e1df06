package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/secret"
)

// Secret is what must not be seen.
type Secret = secret.Secret

// Pair is a certificate with its issuers, leaf first, and the private key, both in PEM.
type Pair struct {
	Chain []byte
	Key   Secret
}

// The kinds of certificate. A name has at most one of each; Manager prefers them in this order while they are valid.
const (
	Imported   = "imported"
	ACME       = "acme"
	SelfSigned = "self-signed"
)

// Certificate is what is known of one, without its key.
type Certificate struct {
	// Name is the first of Names, by which it is found.
	Name  string
	Names []string
	// Source is "acme:CA", "imported" or "self-signed".
	Source      string
	Chain       []byte
	Issuer      string
	Serial      string
	Fingerprint string // SHA-256 of the leaf
	Created     time.Time
	NotBefore   time.Time
	Expires     time.Time
	// Window is when the CA wants it to be renewed; zero where it did not say.
	Window Window
}

// Window is a time for renewal that a CA suggests (RFC 9773).
type Window struct{ Start, End time.Time }

// Kind is the source without its CA.
func (c *Certificate) Kind() string {
	kind, _, _ := strings.Cut(c.Source, ":")
	return kind
}

// Covers reports whether the certificate is good for a host name.
func (c *Certificate) Covers(name string) bool {
	return slices.ContainsFunc(c.Names, func(n string) bool { return n == name || n == wildcardOf(name) })
}

// wildcardOf is the wildcard that covers a name: "*.example.org" for "www.example.org".
func wildcardOf(name string) string {
	_, rest, ok := strings.Cut(name, ".")
	if !ok {
		return ""
	}
	return "*." + rest
}

// Bounds of what is parsed.
const (
	maxChain = 64 << 10
	maxCerts = 10
	maxKey   = 16 << 10
	// skew is how much a CA's clock may be ahead of ours.
	skew = time.Hour
)

// Inspect parses a pair and says everything that is wrong with it: the key must be the leaf's, every certificate the
// issuer of the one before, the leaf valid now and good for each of names.
func Inspect(p Pair, names []string, now time.Time) (*Certificate, error) {
	chain, err := parseChain(p.Chain)
	key, keyErr := parseKey(p.Key)
	if err != nil || keyErr != nil {
		return nil, errors.Join(err, keyErr)
	}
	leaf := chain[0]
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(leaf.PublicKey) {
		bad("private key: does not belong to the first certificate; give the key that it was requested with, and put your own certificate first")
	}
	for i := 1; i < len(chain); i++ {
		if err := chain[i-1].CheckSignatureFrom(chain[i]); err != nil {
			bad("chain: certificate %d (%s) did not issue certificate %d (%s); put your own first, then its issuer, and so on", i+1, subject(chain[i]), i, subject(chain[i-1]))
		}
	}
	if leaf.IsCA && len(chain) > 1 {
		bad("chain: the first certificate is that of a CA; put your own certificate first")
	}
	if !leaf.NotAfter.After(now) {
		bad("certificate: ended at %s; get a new one", leaf.NotAfter.UTC().Format(time.DateTime))
	}
	if leaf.NotBefore.After(now.Add(skew)) || !leaf.NotAfter.After(leaf.NotBefore) {
		bad("certificate: is valid from %s on, which has not come; look at the clock of this host", leaf.NotBefore.UTC().Format(time.DateTime))
	}
	c := describe(leaf, p.Chain)
	for _, n := range names {
		if !c.Covers(n) {
			bad("certificate: is not good for %s; it names %s", n, short(c.Names))
		}
	}
	if len(c.Names) == 0 {
		bad("certificate: names no host in its subject alternative names; browsers look at nothing else")
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

func describe(leaf *x509.Certificate, chain []byte) *Certificate {
	sum := sha256.Sum256(leaf.Raw)
	c := &Certificate{Chain: chain, Issuer: order.Clean(leaf.Issuer.String()), Serial: leaf.SerialNumber.Text(16), Fingerprint: hex.EncodeToString(sum[:]),
		NotBefore: leaf.NotBefore, Expires: leaf.NotAfter}
	for _, n := range leaf.DNSNames[:min(len(leaf.DNSNames), 100)] {
		c.Names = append(c.Names, order.Clean(strings.ToLower(n)))
	}
	for _, ip := range leaf.IPAddresses[:min(len(leaf.IPAddresses), 100)] {
		c.Names = append(c.Names, ip.String())
	}
	if len(c.Names) > 0 {
		c.Name = c.Names[0]
	}
	return c
}

func subject(c *x509.Certificate) string { return order.Clean(c.Subject.String()) }

func short(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

func parseChain(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxChain {
		return nil, fmt.Errorf("certificate: %d bytes, at most %d are allowed; leave out what does not belong to the chain", len(data), maxChain)
	}
	var out []*x509.Certificate
	for rest := data; len(rest) > 0; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		if len(out) == maxCerts {
			return nil, fmt.Errorf("certificate: more than %d in the chain; leave out what does not belong to it", maxCerts)
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: cannot be read: %s", len(out)+1, order.Clean(err.Error()))
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("certificate: there is none in PEM form (-----BEGIN CERTIFICATE-----); convert it, for example with: openssl x509 -in FILE -inform DER")
	}
	return out, nil
}

// parseKey never says what it read: an error of a parser may quote its input.
func parseKey(data []byte) (crypto.Signer, error) {
	if len(data) > maxKey {
		return nil, fmt.Errorf("private key: %d bytes, at most %d are allowed", len(data), maxKey)
	}
	for rest := data; len(rest) > 0; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
			return nil, errors.New("private key: is encrypted with a pass phrase; remove it with: openssl pkey -in KEY -out PLAIN, or give a PKCS#12 file with its password")
		}
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		return signer(b.Bytes)
	}
	return nil, errors.New("private key: there is none in PEM form (-----BEGIN PRIVATE KEY-----)")
}

func signer(der []byte) (crypto.Signer, error) {
	var key any
	var err error
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
		func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
	} {
		if key, err = parse(der); err == nil {
			break
		}
	}
	if err != nil {
		return nil, errors.New("private key: cannot be read; it must be PKCS#8, PKCS#1 or SEC 1 in PEM")
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	case *rsa.PrivateKey:
		if k.N.BitLen() < 2048 {
			return nil, fmt.Errorf("private key: RSA with %d bits, which browsers refuse; make one with 2048 or more, or an ECDSA key", k.N.BitLen())
		}
		return k, nil
	}
	return nil, errors.New("private key: is of a kind that TLS does not use; make an ECDSA or RSA key")
}

func encodeKey(key crypto.PrivateKey) (Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func encodeChain(ders ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range ders {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a buffer takes everything
	}
	return b.Bytes()
}
