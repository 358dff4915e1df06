package cache

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

// suiteVersion of the npm package http-cache-tests: another one has other tests.
const suiteVersion = "0.4.5"

// suite installs http-cache-tests below .cache, once, and gives its folder.
func suite(t *testing.T) string {
	t.Helper()
	home, err := filepath.Abs("../../.cache/http-cache-tests-" + suiteVersion)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(home, "node_modules/http-cache-tests")
	if _, err := os.Stat(filepath.Join(home, "whole")); err == nil {
		return folder
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--prefix", home, "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "http-cache-tests@"+suiteVersion)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install http-cache-tests (scripts/deps.sh test installs npm): %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(home, "whole"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

// origin starts the suite's own server.
func origin(t *testing.T, folder string) *url.URL {
	t.Helper()
	server := exec.Command("node", "testdata/cachetests.mjs", "server", folder)
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		server.Process.Kill()
		server.Wait()
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the suite's server did not start: %v", err)
	}
	go io.Copy(io.Discard, stdout)
	return &url.URL{Scheme: "http", Host: "127.0.0.1:" + strings.TrimSpace(port)}
}

type outcome struct {
	ID, Suite, Kind, Name, Why string
	Passed                     bool
}

// run runs the suite's client against a cache, all tests or those named.
func run(t *testing.T, folder, front string, only ...string) []outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	client := exec.CommandContext(ctx, "node", "--no-warnings", "testdata/cachetests.mjs", "client", folder, front)
	client.Env = append(os.Environ(), "ONLY_TESTS="+strings.Join(only, ","))
	client.Stderr = os.Stderr
	out, err := client.Output()
	if err != nil {
		t.Fatalf("the suite's client: %v\n%s", err, out)
	}
	var outcomes []outcome
	for line := range bytes.Lines(out) {
		var o outcome
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatalf("the suite's client said %q", line)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// TestHTTPCacheTests runs the tests of cache-tests.fyi through a real proxy. docs/cache.md lists the cases of the kinds
// "required" and "optimal" that fail, with their reasons; any other failure is one here, and so is a case on that list
// that passes.
func TestHTTPCacheTests(t *testing.T) {
	folder := suite(t)
	to := origin(t, folder)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the suite's server breaks connections off
	}
	store, err := OpenStore(StoreConfig{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	c, err := New(Config{StaleIfError: field.Duration(time.Minute), ClientDirectives: true}, store, "platform")
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(c.Wrap(proxy))
	t.Cleanup(front.Close)

	data, err := os.ReadFile("../../docs/cache.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (required|optimal) \\|").FindAllStringSubmatch(page, -1) {
		explained[m[1]] = true
	}
	outcomes := run(t, folder, front.URL)
	// The tests count seconds; what surprises on a busy machine has to do so twice.
	var again []string
	for _, o := range outcomes {
		if o.Kind != "check" && !o.Passed && !explained[o.ID] {
			t.Logf("once more: %s: %s", o.ID, o.Why)
			again = append(again, o.ID)
		}
	}
	if len(again) > 0 && len(again) <= 10 {
		for _, o := range run(t, folder, front.URL, again...) {
			i := slices.IndexFunc(outcomes, func(first outcome) bool { return first.ID == o.ID })
			outcomes[i].Passed = o.Passed
		}
	}
	total, passed := map[string]int{}, map[string]int{}
	for _, o := range outcomes {
		total[o.Kind]++
		if o.Passed {
			passed[o.Kind]++
		}
		switch {
		case o.Kind == "check":
		case !o.Passed && !explained[o.ID]:
			t.Errorf("%s %s/%s: %s: %s", o.Kind, o.Suite, o.ID, o.Name, o.Why)
		case o.Passed && explained[o.ID]:
			t.Errorf("%s passes: take it off the list in docs/cache.md", o.ID)
		}
		delete(explained, o.ID)
	}
	for id := range explained {
		t.Errorf("docs/cache.md explains %s, which the suite does not have", id)
	}
	for _, kind := range []string{"required", "optimal"} {
		if score := fmt.Sprintf("| %s | %d | %d |", kind, passed[kind], total[kind]); !strings.Contains(page, score) {
			t.Errorf("docs/cache.md does not say %q", score)
		}
	}
	if passed["required"] < 156 || passed["optimal"] < 83 {
		t.Errorf("required: %d of %d, optimal: %d of %d", passed["required"], total["required"], passed["optimal"], total["optimal"])
	}
}
