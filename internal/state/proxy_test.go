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
