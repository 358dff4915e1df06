package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/health"

	"github.com/platformd/platformd/internal/secret"
)

// authority issues certificates in a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string, by *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a := &authority{tmpl, key}
	if by == nil {
		by = a
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) issue(t testing.TB, until time.Time, names ...string) (cert []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: names,
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: until}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func mustKey(t testing.TB, key any) []byte {
	t.Helper()
	out, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadImport(t *testing.T) {
	root := newAuthority(t, "root", nil)
	inter := newAuthority(t, "inter", root)
	year := time.Now().AddDate(1, 0, 0)
	der, key := inter.issue(t, year, "www.example.org", "*.example.net")
	old, oldKey := inter.issue(t, time.Now().Add(-time.Minute), "www.example.org")
	_, other := inter.issue(t, year, "x")
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p12, err := pkcs12.Modern.Encode(key, leaf, []*x509.Certificate{root.cert, inter.cert}, "sesame")
	if err != nil {
		t.Fatal(err)
	}
	chain, keyPEM := encodeChain(der, inter.cert.Raw, root.cert.Raw), mustKey(t, key)
	tests := []struct {
		name, host, password string
		cert, key            []byte
		want                 []string // of the error; none is success
	}{
		{name: "chain", host: "www.example.org", cert: chain, key: keyPEM},
		{name: "wildcard", host: "a.example.net", cert: chain, key: keyPEM},
		{name: "one file", host: "www.example.org", cert: append(bytes.Clone(chain), keyPEM...)},
		{name: "PKCS#12", host: "www.example.org", cert: p12, password: "sesame"},
		{name: "PKCS#12, wrong password", host: "www.example.org", cert: p12, password: "simsim", want: []string{"the password is wrong"}},
		{name: "another name", host: "www.example.com", cert: chain, key: keyPEM, want: []string{"is not good for www.example.com; it names www.example.org"}},
		{name: "too deep for the wildcard", host: "a.b.example.net", cert: chain, key: keyPEM, want: []string{"is not good for a.b.example.net"}},
		{name: "all at once", host: "b", cert: encodeChain(old, root.cert.Raw), key: mustKey(t, other),
			want: []string{"does not belong to the first certificate", "certificate 2 (CN=root) did not issue certificate 1 (CN=leaf)", "ended at ", "is not good for b"}},
		{name: "order", host: "www.example.org", cert: encodeChain(inter.cert.Raw, der), key: keyPEM, want: []string{"that of a CA; put your own certificate first"}},
		{name: "ended", host: "www.example.org", cert: encodeChain(old), key: mustKey(t, oldKey), want: []string{"ended at "}},
		{name: "nothing", host: "a", want: []string{"there is none in PEM form", "private key: there is none"}},
		{name: "encrypted key", host: "www.example.org", cert: chain, key: []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), want: []string{"encrypted with a pass phrase"}},
		{name: "broken key", host: "www.example.org", cert: chain, key: []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXRleHQ=\n-----END PRIVATE KEY-----\n"), want: []string{"private key: cannot be read"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, c, err := ReadImport(tt.host, tt.cert, tt.key, tt.password, time.Now())
			if len(tt.want) == 0 {
				if err != nil || c.Name != tt.host || c.Source != Imported || !bytes.Equal(p.Chain, chain) || !bytes.Equal(p.Key, keyPEM) {
					t.Errorf("got %+v, %v", c, err)
				}
				return
			}
			for _, w := range tt.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q", err, w)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret-text") {
				t.Error("the error quotes the key")
			}
		})
	}
}

func TestImportWinsAndIsRemoved(t *testing.T) {
	h := newHost(t, []string{"www.example.org", "mail.example.org"})
	h.settings.TermsAgreed = false
	h.pass()
	h.wantSource("www.example.org", SelfSigned)
	der, key := newAuthority(t, "root", nil).issue(t, h.clock.now().Add(20*24*time.Hour), "*.example.org", "www.example.org")
	if _, err := h.Import(t.Context(), activity.Record{Actor: "root"}, "www.example.org", encodeChain(der), mustKey(t, key), "", true); err != nil {
		t.Fatal(err)
	}
	h.wantSource("www.example.org", SelfSigned) // it was a dry run
	for _, n := range []string{"www.example.org", "*.example.org"} {
		if _, err := h.Import(t.Context(), activity.Record{Actor: "root"}, n, encodeChain(der), mustKey(t, key), "", false); err != nil {
			t.Fatal(err)
		}
	}
	h.pass()
	for _, n := range []string{"WWW.example.org.", "mail.example.org", "other.example.org"} {
		h.wantSource(n, Imported)
	}
	if c, ok := h.condition("certificate-expiring:www.example.org"); !ok || c.Severity != health.Warning || !strings.Contains(c.Remedy, "certs import www.example.org") {
		t.Errorf("20 days before the end: got %+v", h.health.List())
	}
	for _, step := range []time.Duration{7, 7} { // 13 and 6 days left
		h.clock.add(step * 24 * time.Hour)
		h.pass()
		h.pass()
	}
	if n := h.count(activity.CertificateExpiring, "www.example.org"); n != 3 {
		t.Errorf("told %d times, want once for each of 21, 14 and 7 days", n)
	}
	if c, _ := h.condition("certificate-expiring:www.example.org"); c.Severity != health.Critical {
		t.Errorf("6 days before the end: got %+v", c)
	}
	h.clock.add(10 * 24 * time.Hour)
	h.wantSource("www.example.org", Imported) // ended, and still more than one that nobody knows
	if _, err := h.Remove(t.Context(), activity.Record{Actor: "root"}, "www.example.org", "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Remove(t.Context(), activity.Record{Actor: "root"}, "*.example.org", Imported, false); err != nil {
		t.Fatal(err)
	}
	h.pass()
	h.wantSource("www.example.org", SelfSigned)
	if _, err := h.Remove(t.Context(), activity.Record{}, "nobody.example.org", "", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if len(h.health.List()) != 1 { // not set up
		t.Errorf("conditions %v", h.health.List())
	}
}

// A crowd that asks for names: each is made once, and strangers share one that is never stored.
func TestNoStampede(t *testing.T) {
	h := newHost(t, []string{"a.test"})
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for i := range 400 {
		wg.Go(func() {
			name := "a.test"
			if i%2 == 0 {
				name = fmt.Sprintf("stranger-%d.test", i)
			}
			c, err := h.Certificate(name)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[c.Name+" "+string(c.Chain)]++
		})
	}
	wg.Wait()
	if len(seen) != 2 {
		t.Errorf("%d different certificates were made, want 2", len(seen))
	}
	list, err := h.cfg.Store.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "a.test" {
		t.Errorf("stored: %v, %v", list, err)
	}
	// Nothing of a stranger needs the database.
	if err := h.cfg.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := h.Certificate("stranger.test"); err != nil || c.Name != "" || c.Source != SelfSigned {
		t.Errorf("got %+v, %v", c, err)
	}
	h.Manager = nil
	h.open()
}

// A copy of the database without the key is of no use, nor is one whose rows were exchanged.
func TestKeysAreSealed(t *testing.T) {
	h := newHost(t, []string{"a.test", "b.test"})
	const token = "api-token-of-the-zone"
	if err := h.SetSecret(t.Context(), activity.Record{}, "zone", Secret(token)); err != nil {
		t.Fatal(err)
	}
	h.pass()
	key := h.served("a.test").Key
	if _, err := h.cfg.Store.db.Write.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(h.dir, "certs.db"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("PRIVATE KEY")) || bytes.Contains(raw, key[30:60]) || bytes.Contains(raw, []byte(token)) {
		t.Error("a secret stands in the database as it is")
	}
	if info, err := os.Stat(filepath.Join(h.dir, secret.KeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	if _, err := h.cfg.Store.db.Write.Exec(`UPDATE certificates SET key = (SELECT key FROM certificates WHERE name = 'b.test') WHERE name = 'a.test'`); err != nil {
		t.Fatal(err)
	}
	h.open()
	if _, err := h.Certificate("a.test"); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("with the key of another row: got %v", err)
	}
	if err := h.cfg.Store.Close(); err != nil {
		t.Fatal(err)
	}
	// systemd's credential is used where there is one, and a key is never made anew over what it sealed.
	if err := os.Rename(filepath.Join(h.dir, secret.KeyFile), filepath.Join(h.dir, "away")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(t.Context(), h.dir, "", time.Now); !errors.Is(err, secret.ErrNoKey) {
		t.Errorf("without the key: got %v", err)
	}
	credentials := t.TempDir()
	if err := os.Rename(filepath.Join(h.dir, "away"), filepath.Join(credentials, secret.KeyFile)); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(t.Context(), h.dir, credentials, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok, err := s.Secret(t.Context(), "zone"); err != nil || !ok || string(v) != token {
		t.Errorf("with the credential: %v, %v", ok, err)
	}
	if err := errors.Join(s.Close(), os.Rename(filepath.Join(credentials, secret.KeyFile), filepath.Join(h.dir, secret.KeyFile))); err != nil {
		t.Fatal(err)
	}
	h.Manager = nil
	h.open()
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := Secret("do-not-print")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "pair", Pair{Key: s}, "key", s)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "pair", Pair{Key: s}, "key", s)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%+v %x", Pair{Key: s}, &Pair{Key: s}), log.String()} {
		if strings.Contains(text, "do-not") || strings.Contains(text, "646f2d6e6f74") || strings.Contains(text, "100 111") {
			t.Errorf("printed: %s", text)
		}
	}
}

// What a worker puts into the cache of an order is not believed.
func TestEntriesAreNotBelieved(t *testing.T) {
	h := newHost(t, []string{"a.test"})
	account, err := h.cfg.Store.Account(t.Context(), "https://ca.test/dir")
	if err != nil {
		t.Fatal(err)
	}
	e, err := h.newEntries(order.Job{Names: []string{"a.test"}, Account: account})
	if err != nil {
		t.Fatal(err)
	}
	root := newAuthority(t, "root", nil)
	year := time.Now().AddDate(1, 0, 0)
	der, key := root.issue(t, year, "b.test")
	mine, mineKey := root.issue(t, year, "a.test")
	bundle := func(der []byte, key *ecdsa.PrivateKey) []byte { return append(mustKey(t, key), encodeChain(der)...) }
	for name, tt := range map[string]struct {
		key   string
		value []byte
	}{
		"another account's answer": {"token-token+http-01", []byte("token-token.somebody")},
		"a path for a token":       {"../../etc/x+http-01", []byte("../../etc/x." + e.thumb)},
		"another name":             {"b.test+token", bundle(der, key)},
		"no challenge":             {"a.test+token", bundle(mine, mineKey)},
		"another entry":            {"acme_account+key", account},
		"another certificate":      {"a.test", bundle(der, key)},
		"another key":              {"a.test", bundle(mine, key)},
		"too large":                {"a.test", bytes.Repeat([]byte("x"), 1<<20)},
		"nothing":                  {"a.test", nil},
	} {
		if err := e.Put(t.Context(), tt.key, tt.value); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	if _, err := e.certificate(); err == nil || len(h.challenges.http)+len(h.challenges.tls) != 0 {
		t.Errorf("something was taken: %v", err)
	}
	if err := errors.Join(e.Put(t.Context(), "token-token+http-01", []byte("token-token."+e.thumb)), e.Put(t.Context(), "a.test", bundle(mine, mineKey))); err != nil {
		t.Errorf("what is right: got %v", err)
	}
	if _, err := e.certificate(); err != nil || len(h.challenges.http) != 1 {
		t.Errorf("what is right was not taken: %v", err)
	}
	e.clear()
	if len(h.challenges.http) != 0 {
		t.Error("a challenge is still shown")
	}
}

func FuzzInspect(f *testing.F) {
	p, _, err := selfSigned("a.test", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(bytes.Clone(p.Chain), p.Key...), "")
	f.Add([]byte("\x30\x80\x02"), "x")
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		_, c, err := ReadImport("a.test", data, nil, password, time.Now())
		if (c == nil) == (err == nil) {
			t.Errorf("got %v and %v", c, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x00\x1b") {
			t.Errorf("got %q", err)
		}
	})
}
