package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/cache"
	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/waf"
	"github.com/platformd/platformd/ratelimit"
)

// blotter keeps strikes.
type blotter struct {
	mu   sync.Mutex
	list []limits.Strike
}

func (b *blotter) Strike(s limits.Strike) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, s)
}

func (b *blotter) all() []limits.Strike {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]limits.Strike(nil), b.list...)
}

func rate(t *testing.T, s string) *ratelimit.Limit {
	t.Helper()
	l, err := ratelimit.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return &l
}

var noDelay field.Duration

func TestRouteLimit(t *testing.T) {
	b := mirror(t)
	for _, p := range protocols {
		t.Run(p, func(t *testing.T) {
			conf := Config{Routes: []Route{{Host: "a.test", Backend: b.URL, Limits: limits.Config{Requests: rate(t, "3/h"), Delay: &noDelay}}, {Host: "a.test", Path: "/free", Backend: b.URL}}}
			s := newSite(t, conf)
			c := s.client(t, p)
			for i := range 3 {
				resp, _ := say(t, c, "GET", "https://a.test/", nil)
				if got, want := resp.Header.Get("X-RateLimit-Remaining"), fmt.Sprint(2-i); resp.StatusCode != 200 || got != want || resp.Header.Get("X-RateLimit-Limit") != "3" || resp.Header.Get("RateLimit-Policy") != `"client";q=3;w=3600` {
					t.Errorf("request %d: got %d with %v", i, resp.StatusCode, resp.Header)
				}
			}
			resp, body := say(t, c, "GET", "https://a.test/", nil)
			if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "1200" || resp.Header.Get("X-RateLimit-Remaining") != "0" || !strings.Contains(body, "Too Many Requests") {
				t.Errorf("got %d %q with %v", resp.StatusCode, body, resp.Header)
			}
			if resp, _ := say(t, c, "GET", "https://a.test/free", nil); resp.StatusCode != 200 || resp.Header.Get("X-RateLimit-Limit") != "" {
				t.Errorf("another route: got %d with %v", resp.StatusCode, resp.Header)
			}
			// A reload changes nothing about it.
			if err := s.Configure(conf); err != nil {
				t.Fatal(err)
			}
			if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 429 {
				t.Errorf("after a reload: got %d", resp.StatusCode)
			}
			st := s.Statistics()
			if st.Limits.Limited != 2 || st.Limits.Sources == 0 {
				t.Errorf("got %+v", st)
			}
			conf.Exempt = []string{"127.0.0.0/8"}
			if err := s.Configure(conf); err != nil {
				t.Fatal(err)
			}
			if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 200 {
				t.Errorf("exempt: got %d", resp.StatusCode)
			}
		})
	}
}

// TestEarlyRequestsAreHeldBack: they take the time that the limit says, and each of them is answered.
func TestEarlyRequestsAreHeldBack(t *testing.T) {
	b := mirror(t)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL, Limits: limits.Config{Requests: rate(t, "20/s burst 1")}}}})
	c := s.client(t, "HTTP/2.0")
	begin := time.Now()
	for i := range 6 {
		if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 200 {
			t.Errorf("request %d: got %d", i, resp.StatusCode)
		}
	}
	if took := time.Since(begin); took < 250*time.Millisecond-10*time.Millisecond {
		t.Errorf("six requests took %v", took)
	}
	if st := s.Statistics().Limits; st.Delayed == 0 || st.Limited != 0 {
		t.Errorf("got %+v", st)
	}
}

// TestUnderWay: what is too much at once for a client is 429, for all together 503, and what ends makes room, also where the
// client left.
func TestUnderWay(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int64
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside.Add(1)
		defer inside.Add(-1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer b.Close()
	defer close(release)
	for name, tt := range map[string]struct {
		conf Config
		want int
	}{
		"client": {Config{Routes: []Route{{Host: "a.test", Backend: b.URL, Limits: limits.Config{Requests: rate(t, "concurrent 2")}}}}, 429},
		"route":  {Config{Routes: []Route{{Host: "a.test", Backend: b.URL, Limits: limits.Config{Total: rate(t, "concurrent 2")}}}}, 503},
		"all":    {Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}, Limits: limits.Config{Total: rate(t, "concurrent 2")}}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, tt.conf)
			c := s.client(t, "HTTP/2.0")
			var group sync.WaitGroup
			leave := make(chan struct{})
			for range 2 {
				req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://a.test/", nil)
				ctx, cancel := contextUntil(req, leave)
				defer cancel()
				group.Go(func() {
					if resp, err := c.Do(ctx); err == nil {
						resp.Body.Close()
					}
				})
			}
			eventually(t, "two are under way", func() bool { return inside.Load() == 2 })
			resp, _ := say(t, c, "GET", "https://a.test/", nil)
			if resp.StatusCode != tt.want || resp.Header.Get("Retry-After") != "1" {
				t.Errorf("got %d with %v, want %d", resp.StatusCode, resp.Header, tt.want)
			}
			close(leave)
			group.Wait()
			eventually(t, "those who left are gone", func() bool { return inside.Load() == 0 })
			var pass limits.Pass
			eventually(t, "there is room", func() bool {
				v := s.limits.Admit(&pass, limits.Request{Client: netip.MustParseAddr("127.0.0.1"), Method: "GET", Path: "/"}, s.table.Load().limits, s.table.Load().routes[0].limits)
				s.limits.Done(&pass)
				return v.Status == 0
			})
		})
	}
}

func contextUntil(r *http.Request, leave <-chan struct{}) (*http.Request, func()) {
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		select {
		case <-leave:
			cancel()
		case <-ctx.Done():
		}
	}()
	return r.WithContext(ctx), cancel
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestStrikes: who tries passwords is reported with the true address; a proxy that is trusted, and who is exempt, never is.
func TestStrikes(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) }))
	defer b.Close()
	for name, tt := range map[string]struct {
		trusted, exempt []string
		header          string
		want            string // the client that is reported, "" for none
	}{
		"the peer":                       {nil, nil, "", "127.0.0.1"},
		"who says it is another":         {nil, nil, "203.0.113.9", "127.0.0.1"},
		"behind a trusted proxy":         {[]string{"127.0.0.0/8"}, nil, "203.0.113.9", "203.0.113.9"},
		"behind two":                     {[]string{"127.0.0.0/8", "203.0.113.9"}, nil, "192.0.2.1, 203.0.113.9", "192.0.2.1"},
		"the trusted proxy itself":       {[]string{"127.0.0.0/8"}, nil, "", ""},
		"a trusted proxy names itself":   {[]string{"127.0.0.0/8"}, nil, "127.0.0.2", ""},
		"exempt":                         {nil, []string{"127.0.0.1"}, "", ""},
		"exempt behind a trusted proxy":  {[]string{"127.0.0.0/8"}, []string{"203.0.113.0/24"}, "203.0.113.9", ""},
		"a lie that the peer is trusted": {[]string{"10.0.0.0/8"}, nil, "10.0.0.1", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, Config{Trusted: tt.trusted, Exempt: tt.exempt, Routes: []Route{{Host: "a.test", Backend: b.URL}}})
			var seen blotter
			s.cfg.Strikes = &seen
			c := s.client(t, "HTTP/1.1")
			for i := range 8 {
				headers := []string{"Authorization", "Basic YTpi"}
				if tt.header != "" {
					headers = append(headers, "X-Forwarded-For", tt.header)
				}
				if resp, _ := say(t, c, "GET", fmt.Sprint("https://a.test/private?secret=", i), nil, headers...); resp.StatusCode != 401 {
					t.Fatalf("got %d", resp.StatusCode)
				}
			}
			eventually(t, "all are recorded", func() bool { return s.Statistics().FailedAuth == 8 })
			got := seen.all()
			if tt.want == "" {
				if len(got) != 0 {
					t.Errorf("got %+v", got)
				}
				return
			}
			if len(got) != 3 || got[0].Client.String() != tt.want || got[0].Reason != limits.ReasonAuth || got[0].Detail != "GET a.test/private 401" {
				t.Errorf("got %+v, want three strikes of %s", got, tt.want)
			}
		})
	}
}

// atlas knows one address.
type atlas struct{ cc string }

func (a atlas) Country(netip.Addr) string { return a.cc }

func TestCountries(t *testing.T) {
	b := mirror(t)
	for _, tt := range []struct {
		policy Countries
		of     CountryOf
		want   int
	}{
		{Countries{Allow: []string{"DE", "FR"}}, atlas{"FR"}, 200},
		{Countries{Allow: []string{"DE", "FR"}}, atlas{"US"}, 403},
		{Countries{Allow: []string{"DE"}}, atlas{""}, 403},
		{Countries{Allow: []string{"DE"}, Unknown: "allow"}, atlas{""}, 200},
		{Countries{Allow: []string{"DE"}}, nil, 403},
		{Countries{Deny: []string{"DE"}}, atlas{"DE"}, 403},
		{Countries{Deny: []string{"DE"}}, atlas{"US"}, 200},
		{Countries{Deny: []string{"DE"}}, atlas{""}, 200},
		{Countries{Deny: []string{"DE"}}, nil, 200},
		{Countries{Deny: []string{"DE"}, Unknown: "deny"}, nil, 403},
	} {
		conf := Config{Routes: []Route{{Host: "a.test", Backend: b.URL, Countries: &tt.policy}}}
		s := newSite(t, conf)
		s.cfg.Countries = tt.of
		c := s.client(t, "HTTP/1.1")
		if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != tt.want {
			t.Errorf("%+v from %v: got %d, want %d", tt.policy, tt.of, resp.StatusCode, tt.want)
		}
		conf.Exempt = []string{"127.0.0.1"}
		if err := s.Configure(conf); err != nil {
			t.Fatal(err)
		}
		if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 200 {
			t.Errorf("%+v, exempt: got %d", tt.policy, resp.StatusCode)
		}
	}
}

// gate is an auth server: it does what the cookie says.
func gate(t *testing.T, saw func(*http.Request)) *httptest.Server {
	t.Helper()
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw(r)
		c, _ := r.Cookie("do")
		if c == nil {
			w.Header().Set("Location", "https://sso.test/?back="+r.Header.Get("X-Forwarded-Uri"))
			w.Header().Set("Set-Cookie", "state=1")
			w.WriteHeader(302)
			return
		}
		switch c.Value {
		case "pass":
			w.Header().Set("Remote-User", "alice")
			w.Header().Set("Not-Passed", "x")
			w.WriteHeader(204)
		case "anonymous":
		case "401":
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
			io.WriteString(w, "who are you?")
		case "403":
			w.WriteHeader(403)
		case "500":
			w.WriteHeader(500)
		case "404":
			w.WriteHeader(404)
		case "hang":
			<-r.Context().Done()
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func TestForwardAuth(t *testing.T) {
	b := mirror(t)
	var mu sync.Mutex
	var asked http.Header
	g := gate(t, func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = r.Header.Clone()
		if r.Method != "GET" || r.ContentLength > 0 {
			t.Errorf("the auth server got %s with %d bytes", r.Method, r.ContentLength)
		}
	})
	s := newSite(t, Config{Routes: []Route{
		{Host: "a.test", Backend: b.URL, Auth: &Auth{URL: g.URL + "/verify", HeadersDown: []string{"Remote-User", "Remote-Groups"}, Timeout: field.Duration(200 * time.Millisecond)}},
		{Host: "a.test", Path: "/dead", Backend: b.URL, Auth: &Auth{URL: "http://127.0.0.1:1/"}},
	}})
	for _, p := range protocols {
		t.Run(p, func(t *testing.T) {
			c := s.client(t, p)
			forged := []string{"Remote-User", "root", "Remote-Groups", "wheel", "X-Forwarded-Uri", "/public"}
			if p == "HTTP/1.1" {
				forged = append(forged, "Connection", "Remote-User")
			}
			for do, want := range map[string]string{
				"pass": "200 POST /x?y=z", "anonymous": "200 POST /x?y=z", "401": "401 who are you?", "403": "403", "": "302", "500": "502", "404": "502", "hang": "504",
			} {
				headers := forged
				if do != "" {
					headers = append(headers[:len(headers):len(headers)], "Cookie", "do="+do)
				}
				resp, body := say(t, c, "POST", "https://a.test/x?y=z", strings.NewReader("hello"), headers...)
				if got := fmt.Sprint(resp.StatusCode, " ", body); !strings.HasPrefix(got, want) {
					t.Errorf("%q: got %.60q, want %q", do, got, want)
				}
				if strings.Contains(body, "root") || strings.Contains(body, "wheel") || strings.Contains(body, "Not-Passed") {
					t.Errorf("%q: the back end saw\n%s", do, body)
				}
				if has := strings.Contains(body, "\nRemote-User: alice\n"); has != (do == "pass") {
					t.Errorf("%q: the back end saw\n%s", do, body)
				}
				switch do {
				case "":
					if resp.Header.Get("Location") != "https://sso.test/?back=/x?y=z" || resp.Header.Get("Set-Cookie") == "" {
						t.Errorf("got %v", resp.Header)
					}
				case "401":
					if resp.Header.Get("WWW-Authenticate") == "" || resp.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("got %v", resp.Header)
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for name, want := range map[string]string{"X-Forwarded-Method": "POST", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.test", "X-Forwarded-Uri": "/x?y=z", "X-Forwarded-For": "127.0.0.1", "Remote-User": ""} {
				if got := asked.Get(name); got != want {
					t.Errorf("the auth server was told %s: %q, want %q", name, got, want)
				}
			}
			if resp, _ := say(t, c, "GET", "https://a.test/dead", nil, "Cookie", "do=pass"); resp.StatusCode != 502 {
				t.Errorf("no auth server: got %d", resp.StatusCode)
			}
		})
	}
}

// finder takes the word "evil" for an attack.
type finder struct{ bodies atomic.Int64 }

func (f *finder) Load(waf.Config) (waf.Engine, error) { return f, nil }

func (f *finder) Inspect(r *waf.Request) (waf.Finding, error) {
	f.bodies.Add(int64(len(r.Body)))
	switch {
	case strings.Contains(r.URL.RawQuery, "broken"):
		return waf.Finding{}, errors.New("out of order")
	case strings.Contains(r.URL.RawQuery, "evil") || strings.Contains(string(r.Body), "evil"):
		return waf.Finding{Refused: true, Rules: []int{942100, 942101}, Message: "evil"}, nil
	}
	return waf.Finding{}, nil
}

func TestFirewallForApplications(t *testing.T) {
	b := mirror(t)
	s := newSite(t, Config{})
	conf := Config{Routes: []Route{
		{Host: "a.test", Backend: b.URL, WAF: &waf.Config{BodyLimit: 100}},
		{Host: "a.test", Path: "/watch", Backend: b.URL, WAF: &waf.Config{Mode: waf.Detect, BodyLimit: 100}},
		{Host: "a.test", Path: "/off", Backend: b.URL, WAF: &waf.Config{Mode: waf.Off}},
	}}
	if err := s.Configure(conf); err == nil || !strings.Contains(err.Error(), "routes[0].waf") {
		t.Errorf("without an engine: got %v", err)
	}
	var seen blotter
	engine := &finder{}
	s.cfg.WAF, s.cfg.Strikes = engine, &seen
	if err := s.Configure(conf); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 101)
	for _, p := range protocols {
		c := s.client(t, p)
		for _, tt := range []struct{ path, body, want string }{
			{"/", "hello", "200 POST / host=a.test body=5"}, {"/?evil", "", "403"}, {"/", "so evil", "403"}, {"/", long[1:], "200 POST / host=a.test body=100"}, {"/", long, "413"}, {"/?broken", "", "500"},
			{"/watch?evil", "x", "200"}, {"/watch", "evil" + long, "200 POST / host=a.test body=105"}, {"/watch?broken", "", "200"}, {"/off?evil", long, "200"},
		} {
			for _, chunked := range []bool{false, true} {
				var body io.Reader = strings.NewReader(tt.body)
				if chunked {
					body = io.MultiReader(body) // of unknown length
				}
				resp, got := say(t, c, "POST", "https://a.test"+tt.path, body)
				if got := fmt.Sprint(resp.StatusCode, " ", got); !strings.HasPrefix(got, tt.want) {
					t.Errorf("%s %s, chunked %v: got %.60q, want %q", p, tt.path, chunked, got, tt.want)
				}
			}
		}
	}
	a := s.journal.find(t, func(a Access) bool { return a.Status == 403 })
	if a.Reason != "waf: rule 942100: evil" || len(a.WAF) != 2 {
		t.Errorf("got %+v", a)
	}
	if a := s.journal.find(t, func(a Access) bool { return a.Path == "/watch" && len(a.WAF) > 0 }); a.Reason != "" || a.Status != 200 {
		t.Errorf("only noted: got %+v", a)
	}
	eventually(t, "nothing is held", func() bool { return s.inspect.Load() == 0 })
	if got := seen.all(); len(got) != 10 && len(got) != 12 || got[0].Reason != limits.ReasonAttack || !strings.Contains(got[0].Detail, "rule 942100") {
		t.Errorf("got %d strikes, %+v", len(got), got)
	}
	if n := s.Statistics().Blocked; n != 12 {
		t.Errorf("%d are counted as blocked", n)
	}
}

func TestProtectionIsValidated(t *testing.T) {
	c := Config{Exempt: []string{"x"}, Limits: limits.Config{RequestsPerMinute: -1}, Routes: []Route{{Host: "a.test", Backend: "http://127.0.0.1:1",
		Limits: limits.Config{RequestsPerMinute: -1}, Countries: &Countries{Allow: []string{"Germany"}, Deny: []string{"FR"}, Unknown: "maybe"},
		Auth: &Auth{URL: "ftp://x", HeadersDown: []string{"X-Forwarded-For", "a_b"}, Timeout: 1}, Cache: &cache.Config{}, WAF: &waf.Config{Mode: "on", Paranoia: 5, Skip: []int{0}}}}}
	err := c.Validate()
	for _, want := range []string{"exempt[0]", "limits.requests_per_minute", "routes[0].limits.requests_per_minute", "routes[0].countries: name", "routes[0].countries.allow[0]", "routes[0].countries.unknown",
		"routes[0].auth.url", "routes[0].auth.headers_down[0]", "routes[0].auth.headers_down[1]", "routes[0].auth.timeout", "routes[0].waf.mode", "routes[0].cache: does not go with auth", "routes[0].waf.paranoia", "routes[0].waf.skip[0]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// TestEarlyDataStrikesNobody: before the handshake is over an address may be borrowed.
func TestEarlyDataStrikesNobody(t *testing.T) {
	s := newSite(t, Config{})
	var seen blotter
	s.cfg.Strikes = &seen
	shaken := make(chan struct{})
	say := func() {
		r := httptest.NewRequest("GET", "https://a.test/.env", nil)
		c := &conn{server: s.Server, peer: netip.MustParseAddr("192.0.2.7"), quic: true, shaken: shaken}
		s.ServeHTTP(httptest.NewRecorder(), r.WithContext(withConn(r.Context(), c)))
	}
	say()
	if got := seen.all(); len(got) != 0 {
		t.Errorf("early: got %+v", got)
	}
	close(shaken)
	say()
	if got := seen.all(); len(got) != 1 || got[0].Reason != limits.ReasonScan {
		t.Errorf("after the handshake: got %+v", got)
	}
}
