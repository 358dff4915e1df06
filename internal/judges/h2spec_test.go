package judges

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
)

// TestH2spec: the proxy speaks HTTP/2 as h2spec wants it, without exception.
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
	n := 0
	for _, suite := range found.Suites {
		for _, c := range suite.Cases {
			n++
			if c.Skipped != nil {
				t.Errorf("%s, %q was skipped", c.Package, c.Name)
			}
			if c.Failure != nil || c.Error != nil {
				t.Errorf("%s, failed: %s", c.Package, c.Name)
			}
		}
	}
	if n < 145 {
		t.Errorf("h2spec ran only %d cases:\n%s", n, out)
	}
}
