package judges

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
)

// exceptions are the cases of h2spec that fail, and why; docs/conformance.md says it at length.
var exceptions = []string{
	"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",                                          // refused as a whole
	"Sends a HEADERS frame that contains the connection-specific header field",                       // answered with 400
	"Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"", // answered with 400
}

// TestH2spec: the proxy speaks HTTP/2 as h2spec wants it, but for the exceptions.
func TestH2spec(t *testing.T) {
	s := newSite(t, proxy.Config{Routes: []proxy.Route{{Backend: serve(t, hello)}}})
	report := filepath.Join(t.TempDir(), "report.xml")
	out, _ := run(t, 2*time.Minute, made(t, "h2spec-*"), "-t", "-k", "-h", "localhost", "-p", s.port(), "-o", "2", "-j", report)
	var found struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := xml.Unmarshal(data, &found); err != nil {
		t.Fatal(err)
	}
	var failed []string
	n := 0
	for _, suite := range found.Suites {
		for _, c := range suite.Cases {
			n++
			if c.Skipped != nil {
				t.Errorf("%s, %q was skipped", c.Package, c.Name)
			}
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, c.Name)
			}
		}
	}
	if n < 145 {
		t.Errorf("h2spec ran only %d cases:\n%s", n, out)
	}
	for _, name := range failed {
		if !slices.Contains(exceptions, name) {
			t.Errorf("failed: %s", name)
		}
	}
	for _, name := range exceptions {
		if !slices.Contains(failed, name) {
			t.Errorf("no exception any more, take it off the list: %s", name)
		}
	}
}
