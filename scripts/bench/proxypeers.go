package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// caddyVersion is what the bench builds, once.
const caddyVersion = "v2.11.9"

// peerServer is a proxy under load, or the back end behind all of them.
type peerServer struct {
	name string
	addr string // of HTTPS
	cmd  *exec.Cmd
	log  *os.File
}

// The addresses of the back end and of the proxies.
const (
	backAddr    = "127.0.0.1:9000"
	nginxAddr   = "127.0.0.1:9443"
	haproxyAddr = "127.0.0.1:9444"
	caddyAddr   = "127.0.0.1:9445"
	plainAddr   = "127.0.0.1:9446"
	oursAddr    = "127.0.0.1:9447"
)

// securityLines are the headers that ours puts into every answer; the others are told to do the same.
var securityLines = [][2]string{
	{"Strict-Transport-Security", "max-age=63072000"}, {"X-Content-Type-Options", "nosniff"}, {"X-Frame-Options", "SAMEORIGIN"}, {"Referrer-Policy", "strict-origin-when-cross-origin"},
	{"X-XSS-Protection", "0"}, {"X-Download-Options", "noopen"}, {"X-Permitted-Cross-Domain-Policies", "none"},
}

// makePair writes a certificate with a P-256 key, as two files and as one.
func makePair(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, DNSNames: []string{"bench.test", "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert, priv := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	return errors.Join(os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o644), os.WriteFile(filepath.Join(dir, "key.pem"), priv, 0o644),
		os.WriteFile(filepath.Join(dir, "both.pem"), append(cert, priv...), 0o644))
}

// nginxConfig is for the back end and for the proxy; what is in braces is replaced.
const nginxConfig = `daemon off;
user root;
worker_processes 2;
worker_rlimit_nofile 19000;
pid {dir}/nginx-{name}.pid;
error_log {dir}/nginx-{name}.error;
events { worker_connections 18000; }
http {
  access_log {log};
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 300s; keepalive_requests 100000000;
  client_body_temp_path {dir}/tmp-{name}-1; proxy_temp_path {dir}/tmp-{name}-2; fastcgi_temp_path {dir}/tmp-{name}-3; uwsgi_temp_path {dir}/tmp-{name}-4; scgi_temp_path {dir}/tmp-{name}-5;
{server}
}
`

const nginxBack = `  server { listen 127.0.0.1:9000 reuseport backlog=4096; root {dir}/www; }`

const nginxProxy = `  upstream back { server 127.0.0.1:9000; keepalive 128; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:9443 ssl http2 reuseport backlog=4096;
    ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_session_tickets on;
    http2_max_concurrent_streams 250;
{headers}
    location / {
      proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;
    }
  }`

const haproxyConfig = `global
  maxconn 9900
  nbthread 2
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-bind-options ssl-min-ver TLSv1.3
  log stdout format raw local0 info
  tune.h2.max-concurrent-streams 250
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 10s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
frontend f
  bind 127.0.0.1:9444 ssl crt {dir}/both.pem alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Request-Id %[uuid()]
{headers}
  default_backend b
backend b
  http-reuse always
  server s 127.0.0.1:9000
`

const caddyConfig = `{
  admin off
  auto_https off
  persist_config off
  servers {
    protocols h1 h2
  }
  log default {
    output file {dir}/caddy.error
    level ERROR
  }
}
https://:9445 {
  bind 127.0.0.1
  tls {dir}/cert.pem {dir}/key.pem
  log {
    output file {dir}/caddy.access {
      roll_disabled
    }
  }
  header {
{headers}
  }
  reverse_proxy 127.0.0.1:9000 {
    transport http {
      keepalive_idle_conns_per_host 128
    }
  }
}
`

// startServers starts the back end and all proxies that can be had; the others are named with their reason.
func (b *bench) startServers(dir string) (servers []*peerServer, without map[string]error, err error) {
	www := filepath.Join(dir, "www")
	if err := errors.Join(os.MkdirAll(www, 0o755), makePair(dir), os.WriteFile(filepath.Join(www, "1k"), make([]byte, 1<<10), 0o644), os.WriteFile(filepath.Join(www, "64k"), make([]byte, 64<<10), 0o644)); err != nil {
		return nil, nil, err
	}
	text := func(template string, line func(name, value string) string) string {
		var h []string
		for _, l := range securityLines {
			h = append(h, line(l[0], l[1]))
		}
		return strings.NewReplacer("{headers}", strings.Join(h, "\n"), "{dir}", dir).Replace(template)
	}
	nginx := func(name, log, server string) (string, error) {
		path := filepath.Join(dir, "nginx-"+name+".conf")
		conf := strings.NewReplacer("{dir}", dir, "{name}", name, "{log}", log, "{server}", server).Replace(nginxConfig)
		return path, os.WriteFile(path, []byte(conf), 0o644)
	}
	line := func(format string) func(name, value string) string {
		return func(name, value string) string { return fmt.Sprintf(format, name, value) }
	}
	back, err := nginx("back", "off", strings.ReplaceAll(nginxBack, "{dir}", dir))
	if err != nil {
		return nil, nil, err
	}
	front, err := nginx("front", filepath.Join(dir, "nginx.access"), text(nginxProxy, line("    add_header %s \"%s\";")))
	if err != nil {
		return nil, nil, err
	}
	haproxy, caddy := filepath.Join(dir, "haproxy.conf"), filepath.Join(dir, "Caddyfile")
	if err := errors.Join(os.WriteFile(haproxy, []byte(text(haproxyConfig, line("  http-response set-header %s \"%s\""))), 0o644),
		os.WriteFile(caddy, []byte(text(caddyConfig, line("    %s \"%s\""))), 0o644)); err != nil {
		return nil, nil, err
	}
	without = map[string]error{}
	for _, s := range []struct {
		name, addr string
		args       []string
	}{
		{"back end", backAddr, []string{"nginx", "-c", back}},
		{"nginx", nginxAddr, []string{"nginx", "-c", front}},
		{"HAProxy", haproxyAddr, []string{"haproxy", "-db", "-f", haproxy}},
		{"Caddy", caddyAddr, []string{b.file("bin/caddy"), "run", "--adapter", "caddyfile", "--config", caddy}},
		{"ReverseProxy", plainAddr, []string{"/proc/self/exe", "reverseproxy", dir}},
		{"ours", oursAddr, []string{"/proc/self/exe", "edge", dir, b.file("bin/platformd")}},
	} {
		p, err := startServer(dir, s.name, s.addr, s.args...)
		if err != nil {
			without[s.name] = err
			continue
		}
		servers = append(servers, p)
	}
	for _, must := range []string{"back end", "nginx", "ours"} {
		if err := without[must]; err != nil {
			stopServers(servers)
			return nil, nil, err
		}
	}
	return servers, without, nil
}

func startServer(dir, name, addr string, args ...string) (*peerServer, error) {
	log, err := os.Create(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".out"))
	if err != nil {
		return nil, err
	}
	p := &peerServer{name: name, addr: addr, log: log, cmd: exec.Command(args[0], args[1:]...)}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	parent := os.NewFile(parentFD, "parent")
	p.cmd.ExtraFiles = []*os.File{parent}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := answers(addr); err == nil {
			return p, nil
		}
		if time.Now().After(deadline) || p.cmd.Process.Signal(syscall.Signal(0)) != nil {
			p.stop()
			out, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("%s does not answer: %s", name, strings.Join(strings.Fields(string(out[max(0, len(out)-400):])), " "))
		}
	}
}

// answers asks for one file; proxies speak TLS.
func answers(addr string) error {
	if addr == backAddr {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	}
	c, err := hold(addr, clientTLS(classic, "http/1.1"))
	if err == nil {
		c.Close()
	}
	return err
}

func (p *peerServer) stop() {
	end(p.cmd, 5*time.Second)
	p.log.Close()
}

func stopServers(servers []*peerServer) {
	for _, p := range servers {
		p.stop()
	}
}

// tree is the process and all below it.
func (p *peerServer) tree() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, childrenOf(pids[i])...)
	}
	return pids
}

// cpu is what the server has used so far.
func (p *peerServer) cpu() (total time.Duration) {
	for _, pid := range p.tree() {
		own, _, _ := cpuOf(pid)
		total += own
	}
	return total
}

// memory is what the server holds for itself, in KiB; what its processes share is counted once.
func (p *peerServer) memory() (total int) {
	for _, pid := range p.tree() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err == nil {
			total += field(string(data), "Pss:")
		}
	}
	return total
}

// clientTLS trusts nobody in particular: what is measured is not whom one talks to.
func clientTLS(groups []tls.CurveID, protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ServerName: "bench.test", CurvePreferences: groups, NextProtos: protocols}
}
