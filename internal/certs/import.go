package certs

import (
	"bytes"
	"errors"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/platformd/platformd/internal/certs/order"
)

// ReadImport makes a pair of what an operator brings for name and says everything that is wrong with it. cert is a chain in
// PEM, with key beside it or in it; or a PKCS#12 file, which password opens.
func ReadImport(name string, cert, key []byte, password string, now time.Time) (Pair, *Certificate, error) {
	p := Pair{Chain: cert, Key: key}
	if isPKCS12(cert) {
		var err error
		if p, err = readPKCS12(cert, password); err != nil {
			return Pair{}, nil, err
		}
	} else if len(key) == 0 {
		p.Key = cert
	}
	c, err := Inspect(p, []string{name}, now)
	if err != nil {
		return Pair{}, nil, err
	}
	if p, err = tidyPair(p); err != nil { // kept in one form, without what stood around it
		return Pair{}, nil, err
	}
	c.Chain, c.Name, c.Source, c.Created = p.Chain, name, Imported, now
	return p, c, nil
}

// isPKCS12 reports whether data is a DER sequence, as a PKCS#12 file is.
func isPKCS12(data []byte) bool {
	return len(data) > 4 && data[0] == 0x30 && !bytes.Contains(data, []byte("-----BEGIN"))
}

func readPKCS12(data []byte, password string) (Pair, error) {
	if len(data) > maxChain {
		return Pair{}, errors.New("PKCS#12 file: is too large; export the one certificate, its key and its chain")
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return Pair{}, errors.New("PKCS#12 file: the password is wrong; give it on standard input with --password-stdin")
	case err != nil:
		return Pair{}, errors.New("PKCS#12 file: cannot be read (" + order.Clean(err.Error()) + "); convert it: openssl pkcs12 -in FILE -out FILE.pem -nodes")
	}
	p := Pair{}
	if p.Key, err = encodeKey(key); err != nil {
		return Pair{}, errors.New("PKCS#12 file: its key is of a kind that TLS does not use")
	}
	ders := [][]byte{leaf.Raw}
	// The chain may come in any order.
	for last := leaf; len(chain) > 0 && len(ders) < maxCerts; {
		next := -1
		for i, c := range chain {
			if last.CheckSignatureFrom(c) == nil && !bytes.Equal(c.Raw, last.Raw) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		last = chain[next]
		ders = append(ders, last.Raw)
		chain = append(chain[:next:next], chain[next+1:]...)
	}
	p.Chain = encodeChain(ders...)
	return p, nil
}
