package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"time"
)

// selfSignedFor is how long a certificate of our own is valid.
const selfSignedFor = 365 * 24 * time.Hour

// selfSigned makes a pair that no client trusts by itself, so that a name can be reached at once.
func selfSigned(name string, now time.Time) (Pair, *Certificate, error) {
	fail := func(err error) (Pair, *Certificate, error) {
		return Pair{}, nil, fmt.Errorf("make a self-signed certificate for %s: %w", name, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fail(err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"platformd, self-signed"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(selfSignedFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if a, err := netip.ParseAddr(name); err == nil {
		t.IPAddresses = append(t.IPAddresses, a.AsSlice())
	} else {
		t.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	p := Pair{Chain: encodeChain(der)}
	if p.Key, err = encodeKey(key); err != nil {
		return fail(err)
	}
	c, err := Inspect(p, []string{name}, now)
	if err != nil {
		return fail(err)
	}
	c.Source, c.Created = SelfSigned, now
	return p, c, nil
}
