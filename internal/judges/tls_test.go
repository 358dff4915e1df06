package judges

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
)

// accepted are findings of testssl.sh that are none here.
var accepted = map[string]string{
	"engine_problem":  "openssl here has no GOST",
	"cert_revocation": "the authority of the test publishes no revocations",
}

// TestTestssl: testssl.sh finds nothing MEDIUM or worse. All of it takes minutes; the quick part is protocols, forward
// secrecy, preferences, the certificate and the headers.
func TestTestssl(t *testing.T) {
	s := newSite(t, proxy.Config{Routes: []proxy.Route{{Backend: serve(t, hello)}}})
	report := filepath.Join(t.TempDir(), "report.json")
	args := []string{"--quiet", "--warnings", "batch", "--color", "0", "--ip", "127.0.0.1", "--nodns", "none", "--add-ca", s.rootFile, "--jsonfile", report}
	within := 90 * time.Second
	if long() {
		within = 10 * time.Minute
	} else {
		args = append(args, "--protocols", "--headers", "--server-defaults", "--freak", "--heartbleed", "--ccs-injection", "--renegotiation", "--compression", "--tls-fallback")
	}
	out, _ := run(t, within, "testssl", append(args, "localhost:"+s.port())...)
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var found []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(data, &found); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := 0
	for _, f := range found {
		seen++
		switch {
		case slices.Contains([]string{"OK", "INFO", "LOW", "DEBUG"}, f.Severity):
		case accepted[strings.Fields(f.ID + " ")[0]] != "":
			t.Logf("accepted, as %s: %s %s: %s", accepted[strings.Fields(f.ID)[0]], f.Severity, f.ID, f.Finding)
		default:
			t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	if seen < 40 {
		t.Errorf("only %d findings:\n%s", seen, out)
	}
}
