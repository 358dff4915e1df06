package judges

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/proxy"
)

// observatoryVersion of the npm package @mdn/mdn-http-observatory: another one judges otherwise.
const observatoryVersion = "1.4.8"

// observatory installs it below .cache, once, and gives its folder.
func observatory(t *testing.T) string {
	t.Helper()
	home, err := filepath.Abs("../../.cache/observatory-" + observatoryVersion)
	if err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(home, "whole")) {
		return home
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	// The newest of this one needs a newer Node than Debian 12 has.
	write(t, home, "package.json", `{"private": true, "overrides": {"http-cookie-agent": "7.0.1"}}`)
	out, status := run(t, 5*time.Minute, "npm", "install", "--prefix", home, "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "@mdn/mdn-http-observatory@"+observatoryVersion)
	if status != 0 {
		t.Fatalf("npm install: %s", out)
	}
	// The list of preloaded names comes from the internet; none of it is ours.
	write(t, filepath.Join(home, "node_modules/@mdn/mdn-http-observatory/conf"), "hsts-preload.json", "{}")
	write(t, home, "whole", "")
	return home
}

// TestObservatory: a route as it is by default passes everything of MDN's HTTP Observatory but the Content-Security-Policy,
// which only the application can know; with one it gets the best grade.
func TestObservatory(t *testing.T) {
	folder := observatory(t)
	nstest.Run(t, func(t *testing.T) { observe(t, folder) }) // it knows no other ports
}

func observe(t *testing.T, folder string) {
	nstest.NewTopology(t)
	b := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		_, _ = io.WriteString(w, "<!doctype html><title>hello</title><p>hello")
	}))
	for _, c := range []struct{ name, policy, grade, fails string }{
		{"by default", "", "", "content-security-policy"},
		{"with a policy", "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'", "A+", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := siteOn(t, proxy.Config{Routes: []proxy.Route{{Host: "localhost", Backend: b, Security: proxy.Security{ContentSecurityPolicy: c.policy}}}}, listen(t, "127.0.0.1:443"), listen(t, "127.0.0.1:80"))
			out, _ := runIn(t, time.Minute, []string{"NODE_EXTRA_CA_CERTS=" + s.rootFile, "NODE_OPTIONS=--dns-result-order=ipv4first"}, "node", "--no-warnings", "testdata/observatory.mjs", folder)
			var got struct {
				Grade string
				Score int
				Tests []struct {
					Name, Result string
					Pass         bool
					Score        int
				}
			}
			if err := json.Unmarshal([]byte(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]), &got); err != nil {
				t.Fatalf("%s: %v: %s", c.name, err, out)
			}
			if len(got.Tests) < 8 {
				t.Errorf("%s: only %d tests", c.name, len(got.Tests))
			}
			var failed []string
			for _, v := range got.Tests {
				if !v.Pass {
					failed = append(failed, v.Name)
				}
			}
			if strings.Join(failed, " ") != c.fails || c.grade != "" && got.Grade != c.grade {
				t.Errorf("%s: got grade %s, failed %q; want grade %q, failed %q:\n%s", c.name, got.Grade, failed, c.grade, c.fails, out)
			}
			t.Logf("grade %s, score %d", got.Grade, got.Score)
		})
	}
}
