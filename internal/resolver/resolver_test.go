package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zone is what the name server of the tests knows.
const zone = `
public.test. 60 IN A 198.51.100.7
public.test. 60 IN AAAA 2001:db8::7
mixed.test. 60 IN A 198.51.100.8
mixed.test. 60 IN A 10.0.0.5
rebound.test. 60 IN A 169.254.169.254
rebound.test. 60 IN AAAA fd00:ec2::254
mapped.test. 60 IN AAAA ::ffff:10.0.0.5
alias.test. 30 IN CNAME real.elsewhere.
real.elsewhere. 90 IN A 198.51.100.9
loop.test. 30 IN CNAME loop.test.
long.test. 900000 IN A 198.51.100.10
text.test. 60 IN TXT "hello"
a.deep.wild.test. 60 IN A 198.51.100.11
`

// server is a name server on loopback: by UDP and TCP, with one name that fits only TCP and one that nobody answers.
func server(t *testing.T) netip.AddrPort {
	t.Helper()
	var records []dns.RR
	for p := dns.NewZoneParser(strings.NewReader(zone), "", ""); ; {
		rr, ok := p.Next()
		if !ok {
			if p.Err() != nil {
				t.Fatal(p.Err())
			}
			break
		}
		records = append(records, rr)
	}
	answer := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		switch {
		case name == "silent.test.":
			return
		case name == "broken.test.":
			m.Rcode = dns.RcodeServerFailure
		case name == "other.test.":
			m.Question[0].Name = "somebody.test."
		case name == "large.test.":
			if w.RemoteAddr().Network() == "udp" {
				m.Truncated = true
				break
			}
			for i := range 60 {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).AsSlice()})
			}
		}
		for at, next := name, ""; at != ""; at, next = next, "" { // as a recursive server, with the aliases
			for _, rr := range records {
				if rr.Header().Name != at {
					continue
				}
				if rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
					m.Answer = append(m.Answer, rr)
				}
				if c, is := rr.(*dns.CNAME); is && c.Target != at {
					next = c.Target
				}
			}
		}
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "unasked.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: netip.MustParseAddr("198.51.100.99").AsSlice()})
		_ = w.WriteMsg(m)
	}
	var u net.PacketConn
	var l net.Listener
	for range 50 { // a port that is free for both
		var err error
		if u, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", u.LocalAddr().String()); err == nil {
			break
		}
		u.Close()
	}
	if l == nil {
		t.Fatal("no port is free")
	}
	for _, s := range []*dns.Server{{PacketConn: u, Handler: dns.HandlerFunc(answer)}, {Listener: l, Handler: dns.HandlerFunc(answer)}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return netip.MustParseAddrPort(u.LocalAddr().String())
}

// seen is what the firewall was asked for, and what was refused.
type seen struct {
	sync.Mutex
	found   []Found
	refused []string
	fail    bool
}

func (s *seen) admit(_ context.Context, f Found) error {
	s.Lock()
	defer s.Unlock()
	s.found = append(s.found, f)
	if s.fail {
		return errors.New("no")
	}
	return nil
}

func (s *seen) refuse(app, name string) {
	s.Lock()
	defer s.Unlock()
	s.refused = append(s.refused, app+" "+name)
}

func newResolver(t *testing.T, s *seen) *Resolver {
	t.Helper()
	r, err := New(Config{Upstreams: []netip.AddrPort{server(t)}, Admit: s.admit, Refused: s.refuse})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ask(t *testing.T, r *Resolver, app *App, name string, qtype uint16) (code int, out string) {
	t.Helper()
	reply := r.answer(t.Context(), app, new(dns.Msg).SetQuestion(name, qtype))
	for _, rr := range reply.Answer {
		out += " " + strings.Join(strings.Fields(rr.String()), " ")
	}
	return reply.Rcode, strings.TrimSpace(out)
}

// An app that may reach everything gets what is public, and only what belongs to the question.
func TestPublicAnswers(t *testing.T) {
	s := &seen{}
	r := newResolver(t, s)
	app := &App{Name: "blog", Mode: ModeInternet}
	for _, c := range []struct {
		name  string
		qtype uint16
		code  int
		want  string
	}{
		{"public.test.", dns.TypeA, 0, "public.test. 60 IN A 198.51.100.7"},
		{"PUBLIC.test.", dns.TypeAAAA, 0, "public.test. 60 IN AAAA 2001:db8::7"},
		{"mixed.test.", dns.TypeA, 0, "mixed.test. 60 IN A 198.51.100.8"},
		{"rebound.test.", dns.TypeA, 0, ""},
		{"rebound.test.", dns.TypeAAAA, 0, ""},
		{"mapped.test.", dns.TypeAAAA, 0, ""},
		{"alias.test.", dns.TypeA, 0, "alias.test. 30 IN CNAME real.elsewhere. real.elsewhere. 30 IN A 198.51.100.9"},
		{"loop.test.", dns.TypeA, 0, strings.TrimSpace(strings.Repeat("loop.test. 30 IN CNAME loop.test. ", maxAliases))},
		{"long.test.", dns.TypeA, 0, "long.test. 3600 IN A 198.51.100.10"},
		{"text.test.", dns.TypeTXT, 0, `text.test. 60 IN TXT "hello"`},
		{"broken.test.", dns.TypeA, dns.RcodeServerFailure, ""},
		{"other.test.", dns.TypeA, dns.RcodeServerFailure, ""},
		{"public.test.", dns.TypeANY, dns.RcodeRefused, ""},
		{"public.test.", dns.TypeAXFR, dns.RcodeRefused, ""},
	} {
		if code, got := ask(t, r, app, c.name, c.qtype); code != c.code || got != c.want {
			t.Errorf("%s %s: got %s %q, want %s %q", c.name, dns.TypeToString[c.qtype], dns.RcodeToString[code], got, dns.RcodeToString[c.code], c.want)
		}
	}
	if _, got := ask(t, r, app, "large.test.", dns.TypeA); strings.Count(got, " A ") != 60 {
		t.Errorf("what fits only TCP: got %q", got)
	}
	if len(s.found) != 0 {
		t.Errorf("the firewall was asked for an app that reaches everything: %v", s.found)
	}
}

// An app with a list gets the names on it, after the firewall has admitted what they lead to.
func TestListAnswers(t *testing.T) {
	s := &seen{}
	r := newResolver(t, s)
	app := &App{Name: "shop", Mode: ModeList, Names: []Name{{"public.test", 443}, {"public.test", 80}, {"*.wild.test", 0}, {"alias.test", 25}}}
	for name, want := range map[string]string{
		"public.test.":      "198.51.100.7 [80 443]",
		"alias.test.":       "198.51.100.9 [25]",
		"a.deep.wild.test.": "198.51.100.11 [0]",
	} {
		s.found = nil
		if code, got := ask(t, r, app, name, dns.TypeA); code != 0 || got == "" {
			t.Errorf("%s: got %d %q", name, code, got)
		}
		if len(s.found) != 1 || s.found[0].App != "shop" || fmt.Sprint(s.found[0].Addrs[0], " ", s.found[0].Ports) != want {
			t.Errorf("%s: the firewall was asked for %v, want %s", name, s.found, want)
		}
	}
	for _, name := range []string{"mixed.test.", "wild.test.", "evil-wild.test.", "real.elsewhere.", "public.test.evil."} {
		if code, got := ask(t, r, app, name, dns.TypeA); code != dns.RcodeRefused || got != "" {
			t.Errorf("%s: got %d %q, want it refused", name, code, got)
		}
		if !slices.Contains(s.refused, "shop "+strings.TrimSuffix(name, ".")) {
			t.Errorf("%s: nobody was told", name)
		}
	}
	s.fail = true
	if code, got := ask(t, r, app, "public.test.", dns.TypeA); code != dns.RcodeServerFailure || got != "" {
		t.Errorf("what the firewall does not admit: got %d %q", code, got)
	}
	if code, _ := ask(t, r, &App{Name: "quiet", Mode: "none"}, "public.test.", dns.TypeA); code != dns.RcodeRefused {
		t.Errorf("an app that reaches nobody: got %d", code)
	}
}

// Questions come by UDP and TCP; a server that does not answer holds up its own question alone.
func TestServing(t *testing.T) {
	s := &seen{}
	r := newResolver(t, s)
	app, turns := &App{Name: "blog", Mode: ModeInternet}, NewTurns()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = r.ServeUDP(ctx, u, app, turns) }()
	go func() { _ = r.ServeTCP(ctx, l, app, turns) }()
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		c := &dns.Client{Timeout: 2 * time.Second}
		_, _, _ = c.ExchangeContext(ctx, new(dns.Msg).SetQuestion("silent.test.", dns.TypeA), u.LocalAddr().String())
	}()
	for network, at := range map[string]string{"udp": u.LocalAddr().String(), "tcp": l.Addr().String()} {
		c := &dns.Client{Net: network}
		in, _, err := c.Exchange(new(dns.Msg).SetQuestion("public.test.", dns.TypeA), at)
		if err != nil || len(in.Answer) != 1 {
			t.Errorf("%s: got %v, %v", network, in, err)
		}
		in, _, err = c.Exchange(new(dns.Msg).SetQuestion("large.test.", dns.TypeA), at)
		if err != nil || in.Truncated != (network == "udp") || network == "tcp" && len(in.Answer) != 60 {
			t.Errorf("%s, a large one: got %v, %v", network, in, err)
		}
	}
	cancel()
	<-stuck
}

// FuzzTake: whatever a server writes, what is passed on has only public addresses, is no longer than it may be, and can be packed.
func FuzzTake(f *testing.F) {
	m := new(dns.Msg).SetQuestion("a.test.", dns.TypeA)
	for _, s := range []string{"a.test. 5 IN A 10.0.0.1", "a.test. 5 IN CNAME b.test.", "b.test. 5 IN A 198.51.100.1"} {
		rr, err := dns.NewRR(s)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint16(dns.TypeA))
	f.Add(b, uint16(dns.TypeAAAA))
	r, err := New(Config{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, qtype uint16) {
		up := new(dns.Msg)
		if up.Unpack(data) != nil {
			return
		}
		reply := new(dns.Msg).SetQuestion("a.test.", qtype)
		addrs, ttl := r.take(reply, up, "a.test.", qtype)
		if ttl > maxTTL || len(reply.Answer) > maxAliases+maxAddrs {
			t.Errorf("ttl %d, %d answers", ttl, len(reply.Answer))
		}
		for _, a := range addrs {
			if !r.public(a) {
				t.Errorf("%v is passed on", a)
			}
		}
		_, _ = reply.Pack() // must not panic; what cannot be written is answered by silence
	})
}

// FuzzReply: whatever an app sends, there is an answer that can be read, or none.
func FuzzReply(f *testing.F) {
	b, err := new(dns.Msg).SetQuestion("a.test.", dns.TypeA).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	r, err := New(Config{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, Refused: func(string, string) {}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out := r.reply(t.Context(), &App{Name: "quiet", Mode: "none"}, data, false)
		if out != nil && (new(dns.Msg).Unpack(out) != nil || len(out) > wireSize) {
			t.Errorf("the answer to %x: %x", data, out)
		}
	})
}
