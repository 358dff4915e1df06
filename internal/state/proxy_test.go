package state

import (
	"strings"
	"testing"

	"github.com/platformd/platformd/internal/document"
)

const protected = `version: 1
proxy:
  exempt: [192.0.2.0/24]
  limits:
    requests: 2000/s
    total: 9000/s concurrent 500
    login: {limit: 5/m, paths: [/enter, "*/sign*"]}
    delay: 0s
  routes:
    - host: a.test
      backend: http://127.0.0.1:8080
      limits: {requests_per_minute: 60, subnet: concurrent 40, login: {limit: "off"}}
      countries: {allow: [DE, FR], unknown: allow}
      auth: {url: http://127.0.0.1:9091/verify, headers_down: [Remote-User], timeout: 2s}
      waf: {mode: detect, paranoia: 2, skip: [942100]}
`

// TestProtectionSurvivesYAML: what protects a route is in a document as people write it, "off" and "0s" too.
func TestProtectionSurvivesYAML(t *testing.T) {
	var s State
	if err := document.Decode([]byte(protected), "a.yaml", &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	out, err := document.Encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"requests: 2000/s", "total: 9000/s concurrent 500", "limit: 5/m", "delay: 0s", "requests_per_minute: 60", "subnet: concurrent 40", `limit: "off"`, "unknown: allow", "timeout: 2s", "mode: detect", "skip: [942100]"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var again State
	if err := document.Decode(out, "b.yaml", &again); err != nil {
		t.Fatal(err)
	}
	if l := again.Proxy.Routes[0].Limits.Login.Limit; l == nil || !l.IsZero() {
		t.Errorf("off became %v", l)
	}
	s.Proxy.Routes[0].Countries.Allow = []string{"DE", "UK"}
	err = s.Validate()
	if err == nil || !strings.Contains(err.Error(), "proxy.routes[0].countries") || !strings.Contains(err.Error(), "write GB") {
		t.Errorf("got %v", err)
	}
}

const streamed = `version: 1
proxy:
  trusted_proxies: [192.0.2.1]
  streams:
    - port: 5432
      mode: tls
      alpn: [postgresql]
      names:
        - name: db.example.org
        - name: "*.shard.example.org"
          backend: {servers: [{url: "tcp://10.0.0.9:5432"}]}
      backend:
        servers:
          - url: tls://10.0.0.7:5432
            sni_name: db.internal
            proxy_protocol: v2
          - {url: "tcp://10.0.0.8:5432", backup: true}
        health: {type: tcp, interval: 5s}
      limits: {client: "10/m concurrent 20", total: concurrent 500}
      timeouts: {idle: 1h}
      countries: {deny: [FR]}
      accept_proxy_protocol: true
    - port: 53
      protocol: udp
      addresses: [192.0.2.10, "2001:db8::10"]
      backend: {servers: [{url: "udp://127.0.0.1:5353"}]}
      firewall: "off"
`

// TestStreamsSurviveYAML: streams are in a document as people write them, and what is wrong with one is said with its place.
func TestStreamsSurviveYAML(t *testing.T) {
	var s, again State
	if err := document.Decode([]byte(streamed), "a.yaml", &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	out, err := document.Encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Decode(out, "b.yaml", &again); err != nil {
		t.Fatal(err)
	}
	if changes, err := Compare(&s, &again); err != nil || len(changes) > 0 {
		t.Errorf("got %+v, %v of\n%s", changes, err, out)
	}
	x := &again.Proxy.Streams[0]
	x.Countries.Deny = []string{"UK"}
	x.Backend.Servers[0].URL = "https://10.0.0.7"
	x.Names[1].Name = "a b"
	again.Proxy.Streams[1].Backend.Servers[0].ProxyProtocol = "v1"
	again.Proxy.Streams[1].Port = 5432
	again.Proxy.Streams[1].Protocol = ""
	again.Proxy.Trusted = nil
	err = again.Validate()
	for _, want := range []string{"proxy.streams[0].countries", "streams[0].backend.servers[0].url", "streams[0].names[1].name", "streams[1].backend.servers[0].proxy_protocol",
		`"5432/tcp" is also streams[0]`, "streams[0].accept_proxy_protocol"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
