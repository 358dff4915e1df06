package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/platformd/platformd/internal/activity"
)

// An imported certificate with a responder is stapled, also where no CA may be asked to issue; a wrong answer is not, and a
// revoked certificate is told.
func TestStaple(t *testing.T) {
	root := newAuthority(t, "root", nil)
	stranger := newAuthority(t, "stranger", nil)
	var by atomic.Pointer[authority]
	var status atomic.Int32
	by.Store(stranger)
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q, err := ocsp.ParseRequest(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a := by.Load()
		answer, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{Status: int(status.Load()), SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour),
			NextUpdate: time.Now().Add(24 * time.Hour), RevokedAt: time.Now(), IssuerHash: crypto.SHA1}, a.key)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(answer)
	}))
	defer responder.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"a.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), OCSPServer: []string{responder.URL}}, root.cert, key.Public(), root.key)
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, []string{"a.test"})
	h.settings.TermsAgreed = false
	if _, err := h.Import(t.Context(), activity.Record{}, "a.test", encodeChain(der, root.cert.Raw), mustKey(t, key), "", false); err != nil {
		t.Fatal(err)
	}
	h.pass()
	if c := h.wantSource("a.test", Imported); c.Staple != nil {
		t.Error("the answer of a stranger was taken")
	}
	by.Store(root)
	h.clock.add(lookEvery)
	h.pass()
	c := h.served("a.test")
	parsed, err := ocsp.ParseResponse(c.Staple, root.cert)
	if err != nil || parsed.Status != ocsp.Good || parsed.SerialNumber.Int64() != 77 {
		t.Errorf("staple: got %+v, %v", parsed, err)
	}
	if _, revoked := h.condition("certificate-revoked:a.test"); revoked {
		t.Error("told of a revocation that is not")
	}
	status.Store(ocsp.Revoked)
	h.clock.add(lookEvery)
	h.pass()
	if _, revoked := h.condition("certificate-revoked:a.test"); !revoked {
		t.Errorf("conditions %v", h.health.List())
	}
}
