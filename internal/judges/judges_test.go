// Package judges holds the proxy up to what others wrote: their conformance suites, attack tools, servers and clients.
//
// Everything here is a test. It runs a proxy.Server on loopback, with a certificate authority of its own, and programs of
// Debian, of scripts/deps.sh and of the Makefile against it. A program that is missing fails the test. What takes long is
// done only with PLATFORMD_LONG in the environment, as "make test-long" sets it; what the judges said stands in
// docs/conformance.md.
package judges

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
)

// update has tests write what they found to docs/conformance.md.
var update = flag.Bool("update", false, "write the tables of docs/conformance.md")

// long reports whether there is time for the whole of what takes long.
func long() bool { return os.Getenv("PLATFORMD_LONG") != "" }

// site is a proxy on loopback.
type site struct {
	*testing.T
	*proxy.Server
	https, http string // host:port
	rootFile    string
	pool        *x509.CertPool
	leaf        tls.Certificate

	mu  sync.Mutex
	log []proxy.Access
}

// names are what the certificate is for.
var names = []string{"a.test", "b.test", "localhost"}

func newSite(t *testing.T, c proxy.Config) *site {
	t.Helper()
	return siteOn(t, c, listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0"))
}

// siteOn is newSite on given sockets.
func siteOn(t *testing.T, c proxy.Config, secure, plain net.Listener) *site {
	t.Helper()
	s := &site{T: t, pool: x509.NewCertPool()}
	s.certify()
	var err error
	if s.Server, err = proxy.NewServer(proxy.Options{Certificates: s, Reporter: s}); err != nil {
		t.Fatal(err)
	}
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	s.https, s.http = secure.Addr().String(), plain.Addr().String()
	udp, err := net.ListenPacket("udp", s.https)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(secure, true)
	go s.Serve(plain, false)
	go s.ServeQUIC(udp)
	t.Cleanup(func() { s.Server.Close(); udp.Close() })
	return s
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// certify makes an authority and a certificate of it.
func (s *site) certify() {
	s.Helper()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "judges"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, caDER := s.sign(ca, ca, nil)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, IPAddresses: nil, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(80 * 24 * time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	key, der := s.sign(leaf, ca, caKey)
	s.leaf = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	s.pool.AppendCertsFromPEM(root)
	s.rootFile = filepath.Join(s.TempDir(), "root.pem")
	if err := os.WriteFile(s.rootFile, root, 0o644); err != nil {
		s.Fatal(err)
	}
}

// sign makes a key and its certificate, signed with the key of its issuer; nil is the key itself.
func (s *site) sign(c, issuer *x509.Certificate, with *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.Fatal(err)
	}
	if with == nil {
		with = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), with)
	if err != nil {
		s.Fatal(err)
	}
	return key, der
}

// Certificate implements proxy.Certificates.
func (s *site) Certificate(context.Context, string) (*tls.Certificate, error) { return &s.leaf, nil }

// Challenge implements proxy.Certificates.
func (s *site) Challenge(string) *tls.Certificate { return nil }

// Token implements proxy.Certificates.
func (s *site) Token(string) string { return "" }

// Access implements proxy.Reporter.
func (s *site) Access(a proxy.Access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, a)
}

// records are what the proxy has logged so far.
func (s *site) records() []proxy.Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// port is that of HTTPS.
func (s *site) port() string {
	_, p, _ := net.SplitHostPort(s.https)
	return p
}

// url is an address of the site for programs that resolve localhost.
func (s *site) url(path string) string { return "https://localhost:" + s.port() + path }

// tls connects with the protocols given.
func (s *site) tls(protocols ...string) (*tls.Conn, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{RootCAs: s.pool, ServerName: "a.test", NextProtos: protocols}}
	c, err := d.DialContext(s.Context(), "tcp", s.https)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// client is one that takes every name for this site.
func (s *site) client(http2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		to := s.https
		if strings.HasSuffix(addr, ":80") {
			to = s.http
		}
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetHTTP2(http2)
	s.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// serve runs a back end of this process and gives its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	b := &http.Server{Handler: h}
	go b.Serve(l)
	t.Cleanup(func() { b.Close() })
	return "http://" + l.Addr().String()
}

// until waits for a condition, for at most the time given.
func until(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// run runs a program to its end and gives what it said. Its status is for the caller to judge.
func run(t *testing.T, within time.Duration, name string, args ...string) (string, int) {
	t.Helper()
	return runIn(t, within, nil, name, args...)
}

// runIn is run with more in the environment.
func runIn(t *testing.T, within time.Duration, env []string, name string, args ...string) (string, int) {
	t.Helper()
	path := tool(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8"), env...)
	own(cmd)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s %q took more than %s, and said\n%s", name, args, within, out)
	}
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// own gives a program a process group of its own, so that what it started ends with it.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
}

// tool finds a program, also where only root looks for them.
func tool(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return path
	}
	t.Fatalf("%s is missing: scripts/deps.sh test installs it", name)
	return ""
}

// made finds what the Makefile builds or installs below .cache.
func made(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob("../../.cache/" + pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf(".cache/%s is missing: make deps makes it (%v)", pattern, err)
	}
	path, err := filepath.Abs(found[len(found)-1])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// documented compares a part of docs/conformance.md with what was found, or writes it with -update.
func documented(t *testing.T, part, want string) {
	t.Helper()
	const page = "../../docs/conformance.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+part+" -->\n", "<!-- end of "+part+" -->"
	before, rest, ok1 := strings.Cut(string(text), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no part %q", page, part)
	}
	if got == want {
		return
	}
	if !*update {
		t.Errorf("%s, %s: not what was found (go test ./internal/judges -update writes it). Found:\n%s", page, part, want)
		return
	}
	if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hello answers every request after reading it.
var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "hello")
})
