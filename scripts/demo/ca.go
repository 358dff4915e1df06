package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Where the demo's internet has its certificate authority: Pebble, which Let's Encrypt made to be tested with. It looks for
// answers to its challenges where platformd listens.
const (
	caAddress     = "127.0.0.1:14000"
	caManagement  = "127.0.0.1:15000"
	caNames       = "127.0.0.1:8053"
	plainAddress  = ":8080"
	secureAddress = ":443"
)

// authority is that CA.
type authority struct {
	directory, rootFile string
	client              *http.Client
}

// startAuthority runs the CA and its DNS server, which knows every name as this host. They end with the namespaces.
func (m *machine) startAuthority(tools string) (*authority, error) {
	a := &authority{directory: "https://" + caAddress + "/dir", rootFile: filepath.Join(m.folder, "ca.pem")}
	key := filepath.Join(m.folder, "ca.key")
	root, err := selfIssue(a.rootFile, key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's own certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	a.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": caAddress, "managementListenAddress": caManagement, "certificate": a.rootFile, "privateKey": key, "httpPort": 8080, "tlsPort": 443,
		"keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "90 days", "validityPeriod": 90 * 24 * 3600}},
	}})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(m.folder, "ca.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"pebble-challtestsrv", "-dnsserver", caNames, "-management", "127.0.0.1:8055", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""},
		{"pebble", "-config", file, "-dnsserver", caNames},
	} {
		if err := m.tool(tools, args[0], args[1:]...); err != nil {
			return nil, err
		}
	}
	return a, a.wait()
}

// tool runs one of the programs that "make deps" installs.
func (m *machine) tool(tools, name string, args ...string) error {
	found, err := filepath.Glob(filepath.Join(tools, name+"-v*"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("%s is not in %s; install it with: make deps", name, tools)
	}
	log, err := os.Create(filepath.Join(m.folder, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(found[len(found)-1], args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Start()
}

func (a *authority) wait() error {
	for end := time.Now().Add(ready); ; time.Sleep(beat) {
		resp, err := a.client.Get(a.directory)
		if err == nil {
			return resp.Body.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("the certificate authority does not answer: %w", err)
		}
	}
}

// roots are what browsers of this internet trust.
func (a *authority) roots() (*x509.CertPool, error) {
	resp, err := a.client.Get("https://" + caManagement + "/roots/0")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New("the authority's root is none")
	}
	return pool, nil
}

// selfIssue makes a certificate for the authority's own address.
func selfIssue(certFile, keyFile string) (*x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "demo"}, IPAddresses: []net.IP{netip.MustParseAddr("127.0.0.1").AsSlice()}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return x509.ParseCertificate(der)
}

// siteBackend is the application behind the proxy.
func siteBackend() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s, this is %s\n", r.Header.Get("X-Real-Ip"), r.Host)
	})}
	go func() { _ = s.Serve(l) }() // ends with the process
	return "http://" + l.Addr().String(), nil
}

// opens has a client open an https address of the appliance as a browser does, and gives the page.
func (c *client) opens(ctx context.Context, roots *x509.CertPool, name string, v6 bool) (string, error) {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return c.dial(443, v6, false)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: tr, Timeout: 2 * patience}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}
