package limits

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/ratelimit"
)

// clock is moved by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newLimiter(o Options) (*Limiter, *clock) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	o.Now = c.now
	return New(o), c
}

// config reads a Config as a document has it.
func config(t testing.TB, text string) *Config {
	t.Helper()
	var c Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return &c
}

var (
	alice = netip.MustParseAddr("192.0.2.7")
	bob   = netip.MustParseAddr("192.0.2.8")
)

func get(a netip.Addr) Request { return Request{Client: a, Method: "GET", Path: "/"} }

// tally makes n requests, each over before the next, and counts what became of them.
func tally(l *Limiter, n int, q Request, general, route *Rules) (ok, waited, limited, shed int) {
	for range n {
		var p Pass
		switch v := l.Admit(&p, q, general, route); {
		case v.Status == http.StatusTooManyRequests:
			limited++
		case v.Status == http.StatusServiceUnavailable:
			shed++
		case v.Wait > 0:
			waited++
		default:
			ok++
		}
		l.Done(&p)
	}
	return ok, waited, limited, shed
}

func TestRateAtItsBoundary(t *testing.T) {
	for _, tt := range []struct {
		name, config              string
		ok, waited, limited, shed int
	}{
		{"off", `{"requests":"off"}`, 500, 0, 0, 0},
		{"without delay", `{"requests":"50/s","delay":"0s"}`, 50, 0, 450, 0},
		{"burst", `{"requests":"50/s burst 200","delay":"0s"}`, 200, 0, 300, 0},
		{"a second late", `{"requests":"50/s"}`, 50, 50, 400, 0},
		{"held back at most", `{"requests":"200/s"}`, 200, maxHeld, 500 - 200 - maxHeld, 0},
		{"a minute", `{"requests_per_minute":60}`, 60, 1, 439, 0},
		{"everybody", `{"total":"70/s"}`, 70, 0, 0, 430},
		{"network", `{"subnet":"80/s","delay":"0s"}`, 80, 0, 420, 0},
		{"the tightest counts", `{"requests":"50/s","subnet":"40/s","total":"30/s","delay":"0s"}`, 30, 0, 460, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, c := newLimiter(Options{})
			r := l.Rules("a/", config(t, tt.config))
			ok, waited, limited, shed := tally(l, 500, get(alice), nil, r)
			if ok != tt.ok || waited != tt.waited || limited != tt.limited || shed != tt.shed {
				t.Errorf("got %d at once, %d later, %d limited, %d shed; want %d, %d, %d, %d", ok, waited, limited, shed, tt.ok, tt.waited, tt.limited, tt.shed)
			}
			// After a long time it is all there again.
			c.advance(time.Hour)
			if ok, _, _, _ := tally(l, 500, get(alice), nil, r); ok != tt.ok {
				t.Errorf("an hour later: got %d at once, want %d", ok, tt.ok)
			}
		})
	}
}

// TestAgainstAWindow says how GCRA differs from a sliding window of a minute: the same in the long run, and never more than
// twice as much in one minute.
func TestAgainstAWindow(t *testing.T) {
	l, c := newLimiter(Options{})
	r := l.Rules("a/", config(t, `{"requests_per_minute":60,"delay":"0s"}`))
	first, total := 0, 0
	for s := range 3600 {
		ok, _, _, _ := tally(l, 5, get(alice), nil, r)
		if s < 60 {
			first += ok
		}
		total += ok
		c.advance(time.Second)
	}
	if first != 2*60-1+0 && first != 2*60 || total > 3600+60 || total < 3600 {
		t.Errorf("got %d in the first minute and %d in an hour, want about 120 and 3660", first, total)
	}
}

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		config, a, b string
		same         bool
	}{
		{`{"requests":"1/s","delay":"0s"}`, "192.0.2.7", "192.0.2.8", false},
		{`{"requests":"1/s","delay":"0s"}`, "192.0.2.7", "192.0.2.7", true},
		{`{"requests":"1/s","delay":"0s"}`, "2001:db8::1", "2001:db8::ffff:2", true},
		{`{"requests":"1/s","delay":"0s"}`, "2001:db8::1", "2001:db8:0:1::1", false},
		{`{"requests":"1/s","delay":"0s"}`, "0.0.0.1", "::1", false},
		{`{"subnet":"1/s","delay":"0s"}`, "192.0.2.7", "192.0.2.255", true},
		{`{"subnet":"1/s","delay":"0s"}`, "192.0.2.7", "192.0.3.7", false},
		{`{"subnet":"1/s","delay":"0s"}`, "2001:db8:1:2::1", "2001:db8:1:ff::1", true},
		{`{"subnet":"1/s","delay":"0s"}`, "2001:db8:1::1", "2001:db8:2::1", false},
	} {
		l, _ := newLimiter(Options{})
		r := l.Rules("a/", config(t, tt.config))
		tally(l, 1, get(netip.MustParseAddr(tt.a)), nil, r)
		if ok, _, _, _ := tally(l, 1, get(netip.MustParseAddr(tt.b)), nil, r); (ok == 0) != tt.same {
			t.Errorf("%s: %s and %s: one source: got %v, want %v", tt.config, tt.a, tt.b, ok == 0, tt.same)
		}
	}
}

func TestAtOnce(t *testing.T) {
	for _, tt := range []struct {
		config          string
		alice, bob      int // how many of ten each
		aliceAfterwards int
	}{
		{`{"requests":"concurrent 3"}`, 3, 3, 3},
		{`{"subnet":"concurrent 4"}`, 4, 0, 4},
		{`{"total":"concurrent 12"}`, 10, 2, 10},
		{`{"requests":"concurrent 3","total":"concurrent 5"}`, 3, 2, 3},
	} {
		l, _ := newLimiter(Options{})
		r := l.Rules("a/", config(t, tt.config))
		var open []*Pass
		hold := func(a netip.Addr) (n int) {
			for range 10 {
				p := new(Pass)
				if v := l.Admit(p, get(a), nil, r); v.Status == 0 {
					n++
					open = append(open, p)
				} else {
					l.Done(p)
				}
			}
			return n
		}
		if a, b := hold(alice), hold(bob); a != tt.alice || b != tt.bob {
			t.Errorf("%s: got %d and %d, want %d and %d", tt.config, a, b, tt.alice, tt.bob)
		}
		for _, p := range open {
			l.Done(p)
			l.Done(p) // a second time is nothing
		}
		open = nil
		if got := hold(alice); got != tt.aliceAfterwards {
			t.Errorf("%s: after all are done: got %d, want %d", tt.config, got, tt.aliceAfterwards)
		}
	}
}

func TestLoginPaths(t *testing.T) {
	defaults := (&Login{}).compile(0)
	own := (&Login{Paths: []string{"/Auth/*/enter", "*.php", "/in"}}).compile(0)
	for _, tt := range []struct {
		p    *paths
		path string
		want bool
	}{
		{defaults, "/login", true}, {defaults, "/Login/", true}, {defaults, "/blog/wp-login.php", true}, {defaults, "/xmlrpc.php", true}, {defaults, "/api/v1/sessions", true},
		{defaults, "/", false}, {defaults, "/login/help", false}, {defaults, "/logins", false}, {defaults, "/upload", false},
		{own, "/auth/x/enter", true}, {own, "/auth/x/y/enter", true}, {own, "/auth/enter", false}, {own, "/a/b.PHP", true}, {own, "/in", true}, {own, "/in/", true}, {own, "/in/x", false}, {own, "/login", false},
	} {
		if got := tt.p.has(tt.path); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.path, got, tt.want)
		}
	}
}

// TestLogins: ten passwords a second from each client by default, whatever the route, and only where a password is sent.
func TestLogins(t *testing.T) {
	l, _ := newLimiter(Options{})
	defaults := Config{}.Defaults()
	general := l.Rules("", &defaults)
	post := Request{Client: alice, Method: "POST", Path: "/wp-login.php"}
	if ok, waited, limited, _ := tally(l, 40, post, general, nil); ok != 10 || waited != 10 || limited != 20 {
		t.Errorf("got %d at once, %d later, %d limited", ok, waited, limited)
	}
	other := post
	other.Client = bob
	page, form := get(alice), Request{Client: alice, Method: "POST", Path: "/comment"}
	page.Path = "/wp-login.php"
	for _, q := range []Request{page, form} {
		if ok, _, _, _ := tally(l, 40, q, general, nil); ok != 40 {
			t.Errorf("%s %s: got %d", q.Method, q.Path, ok)
		}
	}
	off := l.Rules("b/", config(t, `{"login":{"limit":"off"}}`))
	if ok, _, _, _ := tally(l, 40, other, general, off); ok != 40 {
		t.Errorf("off for a route: got %d", ok)
	}
	own := l.Rules("c/", config(t, `{"login":{"limit":"3/m"},"delay":"0s"}`))
	if ok, _, _, _ := tally(l, 40, other, general, own); ok != 3 {
		t.Errorf("a route's own: got %d", ok)
	}
}

func TestFiveThousandByDefault(t *testing.T) {
	l, _ := newLimiter(Options{})
	defaults := Config{}.Defaults()
	general := l.Rules("", &defaults)
	ok, waited, limited, _ := tally(l, 6000, get(alice), general, nil)
	if ok != 5000 || waited != maxHeld || limited != 1000-maxHeld {
		t.Errorf("got %d at once, %d later, %d limited", ok, waited, limited)
	}
	if ok, _, _, _ := tally(l, 1, get(bob), general, nil); ok != 1 {
		t.Error("another client is limited too")
	}
}

func TestExempt(t *testing.T) {
	l, _ := newLimiter(Options{})
	r := l.Rules("a/", config(t, `{"requests":"1/h concurrent 1","subnet":"1/h","total":"1/h concurrent 1"}`))
	q := get(alice)
	q.Exempt = true
	if ok, _, _, _ := tally(l, 100, q, nil, r); ok != 100 {
		t.Errorf("got %d", ok)
	}
}

// TestReload: what is known of a source outlives the configuration, and a limit that was lowered holds at once.
func TestReload(t *testing.T) {
	l, c := newLimiter(Options{})
	r := l.Rules("a/", config(t, `{"requests":"1/h burst 100","delay":"0s","total":"concurrent 1"}`))
	tally(l, 100, get(alice), nil, r)
	var held Pass
	l.Admit(&held, get(bob), nil, r)
	l.Keep(func(name string) bool { return name == "a/" })
	r = l.Rules("a/", config(t, `{"requests":"1/h burst 100","delay":"0s","total":"concurrent 1"}`))
	if _, _, limited, _ := tally(l, 1, get(alice), nil, r); limited != 1 {
		t.Error("a reload made a source new")
	}
	if _, _, _, shed := tally(l, 1, get(bob), nil, r); shed != 1 {
		t.Error("a reload forgot what is under way")
	}
	l.Done(&held)
	// It owes a hundred hours to a limit that is no more.
	r = l.Rules("a/", config(t, `{"requests":"10/s","delay":"0s"}`))
	c.advance(time.Second)
	if ok, _, _, _ := tally(l, 1, get(alice), nil, r); ok != 1 {
		c.advance(time.Second)
		if ok, _, _, _ := tally(l, 1, get(alice), nil, r); ok != 1 {
			t.Error("the new limit holds nobody longer than itself")
		}
	}
	// The clock goes back.
	c.advance(-24 * time.Hour)
	tally(l, 1, get(alice), nil, r)
	c.advance(2 * time.Second)
	if ok, _, _, _ := tally(l, 1, get(alice), nil, r); ok != 1 {
		t.Error("a clock set back shut a source out")
	}
}

// TestMany: ten million sources neither fill the memory nor push out one that is limited.
func TestMany(t *testing.T) {
	before := heap()
	l, c := newLimiter(Options{})
	r := l.Rules("a/", config(t, `{"requests":"1/m burst 10","delay":"0s"}`))
	tally(l, 11, get(alice), nil, r) // one too many
	var pin Pass
	concurrent := l.Rules("b/", config(t, `{"requests":"concurrent 1"}`))
	l.Admit(&pin, get(bob), nil, concurrent)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 10_000_000 {
		var b [16]byte
		b[0] = 0x20
		for j := range 7 {
			b[j+1] = byte(rnd.Uint32())
		}
		a := netip.AddrFrom16(b)
		if i%2 == 0 {
			a = netip.AddrFrom4([4]byte(b[1:5]))
		}
		var p Pass
		if v := l.Admit(&p, get(a), nil, r); v.Status != 0 && i < 100_000 {
			t.Fatalf("source %d, %v, was turned away: %+v", i, a, v)
		}
		if i%1000 == 0 {
			c.advance(time.Millisecond)
		}
	}
	if _, _, limited, _ := tally(l, 1, get(alice), nil, r); limited != 1 {
		t.Error("the flood made a limited source new")
	}
	if v := l.Admit(new(Pass), get(bob), nil, concurrent); v.Status != 429 {
		t.Error("the flood made one forget what a source has under way")
	}
	l.Done(&pin)
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("it takes %d MiB", grown>>20)
	}
	if n := l.Statistics().Sources; n > 1<<18 || n < 1<<16 {
		t.Errorf("%d sources are known", n)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestFullSets: where every place of a set is in use, those who come share one limit, and none goes without.
func TestFullSets(t *testing.T) {
	l, _ := newLimiter(Options{Sources: 1})
	r := l.Rules("a/", config(t, `{"requests":"5/s concurrent 2","delay":"0s"}`))
	var open []*Pass
	refused := 0
	for i := range 20_000 {
		p := new(Pass)
		v := l.Admit(p, get(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})), nil, r)
		if v.Status != 0 {
			refused++
		}
		open = append(open, p)
	}
	// 2048 places, and two in each of the 256 shared ones.
	if got := 20_000 - refused; got > 2048+2*stripes || got < 2048 {
		t.Errorf("%d requests are under way", got)
	}
	for _, p := range open {
		l.Done(p)
	}
	for i := range l.table.entries {
		if n := l.table.entries[i].open; n != 0 {
			t.Fatalf("entry %d has %d under way after all are done", i, n)
		}
	}
}

func TestWaitingRoomIsBounded(t *testing.T) {
	l, _ := newLimiter(Options{Waiting: 3})
	r := l.Rules("a/", config(t, `{"requests":"10/s"}`))
	var passes [20]Pass
	waiting, limited := 0, 0
	for i := range passes {
		v := l.Admit(&passes[i], get(alice), nil, r)
		if v.Wait > 0 {
			waiting++
			if want := time.Duration(waiting) * 100 * time.Millisecond; v.Wait != want {
				t.Errorf("request %d: waits %v, want %v", i, v.Wait, want)
			}
		}
		if v.Status == 429 {
			limited++
		}
	}
	if waiting != 3 || limited != 7 {
		t.Errorf("got %d waiting and %d limited", waiting, limited)
	}
	for i := range passes {
		l.Done(&passes[i])
	}
	if n := l.waiting.Load(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func TestFloodBecomesAStrike(t *testing.T) {
	l, _ := newLimiter(Options{})
	r := l.Rules("a/", config(t, `{"requests":"10/s","delay":"0s"}`))
	strikes := func(a netip.Addr, n int) (got int) {
		for range n {
			var p Pass
			if l.Admit(&p, get(a), nil, r).Strike {
				got++
			}
		}
		return got
	}
	if got := strikes(alice, 10+strikeAfter-1); got != 0 {
		t.Errorf("got %d strikes for few", got)
	}
	if got := strikes(alice, 1+4*strikeAfter); got != 5 {
		t.Errorf("got %d strikes, want 5", got)
	}
	r = l.Rules("b/", config(t, `{"subnet":"10/s","delay":"0s"}`))
	if got := strikes(alice, 1000) + strikes(bob, 1000); got != 0 {
		t.Errorf("got %d strikes for what others of the network did", got)
	}
}

// TestPenaltiesGrow: a client that sends the next request as soon as it has the answer to the last is held back at first, then
// turned away, then struck; after a minute of quiet it is an honest client again.
func TestPenaltiesGrow(t *testing.T) {
	l, c := newLimiter(Options{})
	r := l.Rules("a/", config(t, `{"requests":"10/s"}`))
	first := map[string]int{}
	strikes := 0
	for i := range 300 {
		var p Pass
		v := l.Admit(&p, get(alice), nil, r)
		what := "at once"
		switch {
		case v.Status == 429:
			what = "limited"
		case v.Wait > 0:
			what = "later"
		}
		if _, seen := first[what]; !seen {
			first[what] = i
		}
		if v.Strike {
			strikes++
		}
		c.advance(v.Wait + time.Millisecond)
		l.Done(&p)
	}
	if first["at once"] != 0 || first["later"] != 10 || first["limited"] != 10+maxHeld || strikes < 5 {
		t.Errorf("got %v and %d strikes", first, strikes)
	}
	c.advance(61 * time.Second)
	if ok, waited, limited, _ := tally(l, 21, get(alice), nil, r); ok != 10 || waited != 10 || limited != 1 {
		t.Errorf("after a minute: got %d at once, %d later, %d limited", ok, waited, limited)
	}
}

func TestHeaders(t *testing.T) {
	l, _ := newLimiter(Options{})
	r := l.Rules("a/", config(t, `{"requests":"60/m burst 20","delay":"0s"}`))
	var v Verdict
	for range 5 {
		v = l.Admit(new(Pass), get(alice), nil, r)
	}
	h := http.Header{}
	v.Quota.SetHeaders(h)
	for name, want := range map[string]string{"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "15", "X-RateLimit-Reset": "5", "RateLimit": `"client";r=15;t=5`, "RateLimit-Policy": `"client";q=20;w=20`} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for range 16 {
		v = l.Admit(new(Pass), get(alice), nil, r)
	}
	if v.Status != 429 || v.RetryAfterHeader() != "1" || v.Quota.Remaining != 0 {
		t.Errorf("got %+v", v)
	}
	h = http.Header{"X-Ratelimit-Limit": {"7"}}
	if v.Quota.SetHeaders(h); len(h) != 1 {
		t.Errorf("what the back end says was changed: %v", h)
	}
	Quota{}.SetHeaders(h)
}

func TestObserve(t *testing.T) {
	for _, tt := range []struct {
		name   string
		x      Exchange
		quiet  int // how many make no strike
		reason string
	}{
		{"pages", Exchange{Method: "GET", Status: 200}, 1000, ""},
		{"asked for a password", Exchange{Method: "GET", Status: 401}, 1000, ""},
		{"wrong password", Exchange{Method: "GET", Status: 401, Credentials: true}, 5, ReasonAuth},
		{"wrong password in a form", Exchange{Method: "POST", Path: "/login", Status: 401}, 5, ReasonAuth},
		{"forbidden form", Exchange{Method: "POST", Path: "/login", Status: 403}, 5, ReasonAuth},
		{"our own refusal", Exchange{Method: "POST", Status: 403, Refused: "country"}, 1000, ""},
		{"dead links", Exchange{Method: "GET", Path: "/old", Status: 404}, 30, ReasonScan},
		{"no such host", Exchange{Method: "GET", Path: "/", Status: 404, Refused: "no route"}, 30, ReasonScan},
		{"bait", Exchange{Method: "GET", Path: "/.ENV.bak", Status: 404}, 0, ReasonScan},
		{"an application that has it", Exchange{Method: "GET", Path: "/wp-login.php", Status: 200}, 1000, ""},
		{"the back end's limit", Exchange{Method: "GET", Status: 429}, 30, ReasonLimit},
		{"our own limit", Exchange{Method: "GET", Status: 429, Refused: "limit"}, 1000, ""},
		{"flood", Exchange{Method: "GET", Status: 429, Refused: "limit", Flood: true}, 0, ReasonLimit},
		{"attack", Exchange{Method: "GET", Status: 403, Refused: "waf", Attack: true}, 0, ReasonAttack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := newLimiter(Options{})
			tt.x.Client, tt.x.Host = alice, "a.test"
			for i := range tt.quiet {
				if s, ok := l.Observe(tt.x); ok {
					t.Fatalf("number %d: got %+v", i, s)
				}
			}
			s, ok := l.Observe(tt.x)
			if ok != (tt.reason != "") || s.Reason != tt.reason || ok && (s.Client != alice || !strings.Contains(s.Detail, "a.test")) {
				t.Errorf("got %+v, %v, want %q", s, ok, tt.reason)
			}
			n := 0
			for range 1000 {
				if _, ok := l.Observe(tt.x); ok {
					n++
				}
			}
			if n > 10 {
				t.Errorf("%d strikes of one client at once", n)
			}
			tt.x.Client = bob
			if _, ok := l.Observe(tt.x); ok && tt.quiet > 0 {
				t.Error("another client is struck for it")
			}
		})
	}
}

func TestValidateSaysEverything(t *testing.T) {
	d := field.Duration(time.Hour)
	c := Config{RequestsPerMinute: -1, Requests: &ratelimit.Limit{Rate: -1}, Subnet: &ratelimit.Limit{Burst: 5}, Delay: &d, Login: &Login{Paths: []string{"login", "/ok", "/*****x*"}}}
	err := c.Validate()
	for _, want := range []string{"requests_per_minute: -1", "leave one of them out", "requests: rate -1", "subnet: burst 5", "delay: 1h", "login.paths[0]", "login.paths[2]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "paths[1]") {
		t.Errorf("got %v", err)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("/a*b", "/axxb")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if strings.Count(pattern, "*") > 5 {
			return
		}
		if match(pattern, s) && !strings.Contains(pattern, "*") && pattern != s {
			t.Errorf("%q matches %q", pattern, s)
		}
		if !match(pattern, pattern) || !match("*"+s, s) || !match("*", s) {
			t.Errorf("%q, %q", pattern, s)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	for name, text := range map[string]string{"defaults": "", "all": `{"requests":"900000/s concurrent 1000","subnet":"900000/s","total":"900000/s concurrent 1000"}`} {
		b.Run(name, func(b *testing.B) {
			l := New(Options{})
			c := Config{}.Defaults()
			c.Requests = &ratelimit.Limit{Rate: ratelimit.MaxEvents, Per: time.Second}
			general := l.Rules("", &c)
			var route *Rules
			if text != "" {
				route = l.Rules("a/", config(b, text))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				var p Pass
				i++
				l.Admit(&p, get(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), general, route)
				l.Done(&p)
			}
		})
	}
}

func TestNoAllocations(t *testing.T) {
	l := New(Options{})
	c := Config{}.Defaults()
	general := l.Rules("", &c)
	route := l.Rules("a/", config(t, `{"requests":"900000/s concurrent 1000","subnet":"900000/s","total":"900000/s concurrent 1000"}`))
	q := Request{Client: alice, Method: "POST", Path: "/blog/comment"}
	if n := testing.AllocsPerRun(1000, func() {
		var p Pass
		l.Admit(&p, q, general, route)
		l.Done(&p)
	}); n != 0 {
		t.Errorf("%v allocations for each request", n)
	}
}

// Requests of many goroutines come with times that are out of order; together they get no more than one after the other.
func TestTimesOutOfOrderEarnNothing(t *testing.T) {
	b := newBucket(ratelimit.Limit{Rate: 5000, Per: time.Second}, 0)
	origin := time.Unix(0, 0)
	var tat moment
	admitted := 0
	const steps = 100_000
	for i := range steps {
		now := moment(i) * moment(10*time.Microsecond)
		if i%2 == 1 {
			now -= moment(500 * time.Microsecond) // it looked at the clock earlier
		}
		d := b.decide(tat, max(now, 0), origin)
		tat = d.next
		if d.admitted {
			admitted++
		}
	}
	if want := 5000 + 5000; admitted > want+1 || admitted < want-10 {
		t.Errorf("a second and a burst: got %d, want about %d", admitted, want)
	}
}
