// Package pebbletest starts Let's Encrypt's test CA, Pebble, and its DNS server for tests. Only tests import it.
//
// Both are programs in the module's .cache folder, put there by "make deps" in pinned versions; a test fails where they are
// not there. They listen on loopback only and end with the test.
package pebbletest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Version is the pinned one; the Makefile installs the same.
const Version = "v2.10.1"

// program is the path of an installed program.
func program(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, ".cache", name+"-"+Version)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; install it with: make deps", err)
	}
	return path
}

// Config of a CA. Addresses are of 127.0.0.1; zero ports are chosen.
type Config struct {
	// HTTPPort and TLSPort are where it validates.
	HTTPPort, TLSPort int
	// DNS is the ADDRESS:PORT of the server that it asks for names.
	DNS string
	// Port and Management are where it listens.
	Port, Management int
	// EAB are the accounts that must be known elsewhere: key ID and MAC key in base64url.
	EAB map[string]string
	// Profiles are how long certificates are valid, by profile; nil is 90 days by the profile "default". Where nobody asks
	// for a profile, Pebble takes any.
	Profiles map[string]time.Duration
	// GoodNonces has every nonce accepted, so that requests can be counted; else Pebble refuses some, as CAs do.
	GoodNonces bool
}

// CA is a running Pebble.
type CA struct {
	// Directory is where it is reached, and Root is what its own certificate is verified by, in PEM.
	Directory, Root string
	management      string
	client          *http.Client

	t     testing.TB
	start func() *exec.Cmd
	cmd   *exec.Cmd
	said  *buffer
}

// Start runs a CA until the test ends.
func Start(t testing.TB, cfg Config) *CA {
	t.Helper()
	dir := t.TempDir()
	ca := &CA{t: t, said: &buffer{}}
	if cfg.Port == 0 {
		cfg.Port = FreePort(t)
	}
	if cfg.Management == 0 {
		cfg.Management = FreePort(t)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.Root = selfIssued(t, certFile, keyFile)
	at := fmt.Sprintf("127.0.0.1:%d", cfg.Port)
	ca.Directory, ca.management = "https://"+at+"/dir", fmt.Sprintf("https://127.0.0.1:%d", cfg.Management)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.Root))
	ca.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 10 * time.Second}
	if cfg.Profiles == nil {
		cfg.Profiles = map[string]time.Duration{"default": 90 * 24 * time.Hour}
	}
	profiles := map[string]any{}
	for name, valid := range cfg.Profiles {
		profiles[name] = map[string]any{"description": name, "validityPeriod": valid / time.Second}
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at, "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", cfg.Management), "certificate": certFile, "privateKey": keyFile,
		"httpPort": cfg.HTTPPort, "tlsPort": cfg.TLSPort, "keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
		"externalAccountBindingRequired": len(cfg.EAB) > 0, "externalAccountMACKeys": cfg.EAB,
		"domainBlocklist": []string{"blocked.test"}, "caaIdentities": []string{"pebble.test"}, "profiles": profiles,
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	path := program(t, "pebble")
	ca.start = func() *exec.Cmd {
		cmd := exec.Command(path, "-config", file, "-dnsserver", cfg.DNS, "-strict")
		cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
		if cfg.GoodNonces {
			cmd.Env = append(cmd.Env, "PEBBLE_WFE_NONCEREJECT=0")
		}
		return cmd
	}
	ca.Restart()
	t.Cleanup(ca.Stop)
	return ca
}

// Restart starts a CA that was stopped. It knows nobody any more: Pebble keeps everything in memory.
func (ca *CA) Restart() {
	ca.t.Helper()
	ca.cmd = ca.start()
	ca.cmd.Stdout, ca.cmd.Stderr = ca.said, ca.said
	run(ca.t, ca.cmd)
	until(ca.t, "Pebble answers", func() bool {
		resp, err := ca.client.Get(ca.Directory)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, ca.said)
}

// Stop ends the CA; nothing listens there afterwards.
func (ca *CA) Stop() {
	if ca.cmd != nil {
		stop(ca.cmd)
		ca.cmd = nil
	}
}

// SetRenewalInfo makes the CA suggest a window for the renewal of a certificate.
func (ca *CA) SetRenewalInfo(chain []byte, start, end time.Time) {
	ca.t.Helper()
	info, err := json.Marshal(map[string]any{"suggestedWindow": map[string]time.Time{"start": start, "end": end}})
	if err != nil {
		ca.t.Fatal(err)
	}
	leaf, _ := pem.Decode(chain)
	body, err := json.Marshal(map[string]string{"certificate": string(pem.EncodeToMemory(leaf)), "ariResponse": string(info)})
	if err != nil {
		ca.t.Fatal(err)
	}
	resp, err := ca.client.Post(ca.management+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	if err != nil {
		ca.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		ca.t.Fatalf("set renewal info: %s %s", resp.Status, text)
	}
}

// IssuerRoot is the root of the certificates that it issues, in PEM.
func (ca *CA) IssuerRoot() []byte {
	ca.t.Helper()
	resp, err := ca.client.Get(ca.management + "/roots/0")
	if err != nil {
		ca.t.Fatal(err)
	}
	defer resp.Body.Close()
	root, err := io.ReadAll(resp.Body)
	if err != nil {
		ca.t.Fatal(err)
	}
	return root
}

// Log is what the CA said so far.
func (ca *CA) Log() string { return ca.said.String() }

// StartDNS runs a DNS server that answers every name with 127.0.0.1, and returns its address.
func StartDNS(t testing.TB) string {
	t.Helper()
	at := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	management := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	cmd := exec.Command(program(t, "pebble-challtestsrv"), "-dnsserver", at, "-management", management, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	said := &buffer{}
	cmd.Stdout, cmd.Stderr = said, said
	run(t, cmd)
	t.Cleanup(func() { stop(cmd) })
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, at)
	}}
	until(t, "the DNS server answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		addrs, err := resolver.LookupNetIP(ctx, "ip4", "a.test.")
		return err == nil && len(addrs) == 1 && addrs[0].Unmap() == netip.MustParseAddr("127.0.0.1")
	}, said)
	return at
}

// run starts a program that dies with the test, also with one that is killed: the death signal follows the thread, which
// stays for as long as the process.
func run(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}

func stop(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func until(t testing.TB, what string, ok func() bool, said fmt.Stringer) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not so in 30 s: %s\n%s", what, said)
}

// FreePort is a port that nobody listened on a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// selfIssued writes a certificate for 127.0.0.1 with its key, and returns it in PEM.
func selfIssued(t testing.TB, certFile, keyFile string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IPAddresses: []net.IP{netip.MustParseAddr("127.0.0.1").AsSlice()}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return string(cert)
}

// buffer keeps what a program says; it is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is all of it.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
