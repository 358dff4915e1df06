package limits

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// hand gives what a limiter knows to another, in as many parts as it takes, each as it passes between processes.
func hand(t testing.TB, from, to *Limiter) (parts int) {
	t.Helper()
	for at := 0; ; parts++ {
		s := from.Snapshot(at)
		b, err := json.Marshal(s)
		if err != nil || len(b) > 1<<20 {
			t.Fatalf("a part has %d bytes, %v", len(b), err)
		}
		var taken Snapshot
		if err := json.Unmarshal(b, &taken); err != nil {
			t.Fatal(err)
		}
		if err := to.Take(taken); err != nil {
			t.Fatal(err)
		}
		if s.Next == 0 {
			return parts + 1
		}
		if s.Next <= at {
			t.Fatalf("part at %d, next %d: it does not go on", at, s.Next)
		}
		at = s.Next
	}
}

// TestTheNextKnowsTheSources: who has used up an allowance, was turned away or has failed is known to the next limiter, whose
// time has another origin; everybody else is not touched, and taking twice is taking once.
func TestTheNextKnowsTheSources(t *testing.T) {
	old, c := newLimiter(Options{})
	c.advance(time.Hour) // the origins differ
	next := New(Options{Now: c.now})
	general, route := config(t, `{"requests":"100/s"}`), config(t, `{"requests_per_minute":10,"total":"100/m","login":{"limit":"2/m"},"delay":"0s"}`)
	og, or := old.Rules("", general), old.Rules("a.test/", route)
	other := old.Rules("b.test/", route)
	login := Request{Client: bob, Method: "POST", Path: "/login"}
	if ok, _, limited, _ := tally(old, 29, get(alice), og, or); ok != 10 || limited != 19 {
		t.Fatalf("before: %d passed, %d were turned away", ok, limited)
	}
	tally(old, 2, login, og, or)
	tally(old, 4, get(bob), og, other)
	v6 := netip.MustParseAddr("2001:db8:1:2::3")
	tally(old, 7, get(v6), og, or)
	for range 5 { // the sixth is a strike
		if _, struck := old.Observe(Exchange{Client: bob, Method: "POST", Host: "a.test", Path: "/login", Status: 401, Credentials: true}); struck {
			t.Fatal("struck too early")
		}
	}
	for range 2 {
		hand(t, old, next)
	}
	ng, nr, no := next.Rules("", general), next.Rules("a.test/", route), next.Rules("b.test/", route)
	next.Keep(func(string) bool { return true })
	var p Pass
	if v := next.Admit(&p, get(alice), ng, nr); v.Status != 429 || !v.Strike {
		t.Errorf("alice, turned away for the twentieth time: got %+v", v)
	}
	next.Done(&p)
	if ok, _, limited, _ := tally(next, 10, get(v6), ng, nr); ok != 3 || limited != 7 {
		t.Errorf("IPv6: %d passed, %d were turned away, of 3 that are left", ok, limited)
	}
	if ok, _, limited, _ := tally(next, 2, login, ng, nr); ok != 0 || limited != 2 {
		t.Errorf("logins: %d passed", ok)
	}
	if ok, _, _, _ := tally(next, 10, get(bob), ng, no); ok != 6 {
		t.Errorf("another route: %d passed, of 6 that are left", ok)
	}
	if _, struck := next.Observe(Exchange{Client: bob, Method: "POST", Host: "a.test", Path: "/login", Status: 401, Credentials: true}); !struck {
		t.Error("the sixth password is no strike")
	}
	// All together: 10 of alice's, 2 logins, 7 and 3 by IPv6 have passed.
	passed := 0
	for i := range 120 {
		ok, _, _, _ := tally(next, 1, get(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})), ng, nr)
		passed += ok
	}
	if passed != 78 {
		t.Errorf("of all together %d passed, of 78 that are left", passed)
	}
	if ok, _, _, _ := tally(next, 10, get(netip.MustParseAddr("203.0.113.9")), ng, no); ok != 10 {
		t.Errorf("somebody new: %d passed", ok)
	}
}

// TestFullTableIsHandedOver: all of a full table, in parts that fit, and nothing of sources that do not matter any more.
func TestFullTableIsHandedOver(t *testing.T) {
	old, c := newLimiter(Options{})
	r := old.Rules("a.test/", config(t, `{"requests":"1/m","delay":"0s"}`))
	for i := range 1 << 18 {
		tally(old, 1, get(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), nil, r)
	}
	known := old.Statistics().Sources
	next := New(Options{Now: c.now})
	parts := hand(t, old, next)
	// The hash of the next has another seed: some sets get more than they have room for.
	if got := next.Statistics().Sources; got < known*8/10 || parts > 64 {
		t.Errorf("of %d sources %d are known, after %d parts", known, got, parts)
	}
	c.advance(time.Hour)
	if s := old.Snapshot(0); len(s.Records) != 0 || s.Next != 0 {
		t.Errorf("after an hour: %d bytes, next %d", len(s.Records), s.Next)
	}
}

// TestTakesNothingWrong: what comes may be made up.
func TestTakesNothingWrong(t *testing.T) {
	l, _ := newLimiter(Options{})
	ok := (&record{kind: byClient, addr: 7, tat: 1 << 62, until: 1 << 62, over: 65535, late: 65535}).append(nil)
	for name, s := range map[string]Snapshot{
		"odd":           {Names: []string{"x"}, Records: ok[1:]},
		"too long":      {Names: []string{"x"}, Records: make([]byte, (maxRecords+ways+1)*recordSize)},
		"names":         {Names: []string{strings.Repeat("x", maxNameBytes+1)}},
		"no such name":  {Names: nil, Records: ok},
		"no such kind":  {Names: []string{"x"}, Records: (&record{kind: kinds + 1}).append(nil)},
		"total of none": {Records: (&record{kind: kinds, name: noName}).append(nil)},
	} {
		if err := l.Take(s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	// What is not wrong, and too much, is cut: the source waits no longer than its limit can have it wait.
	if err := l.Take(Snapshot{Names: []string{"a.test/"}, Records: ok}); err != nil {
		t.Fatal(err)
	}
	for i := range l.table.entries {
		if e := &l.table.entries[i]; e.until > l.moment()+maxAhead || e.late > maxHeld {
			t.Errorf("an entry until %v, held back %d times", time.Duration(e.until-l.moment()), e.late)
		}
	}
}

func FuzzTake(f *testing.F) {
	f.Add("a.test/", (&record{kind: byLogin, addr: 1, tat: 5, until: 6}).append(nil))
	f.Add("", binary.LittleEndian.AppendUint64(nil, 1))
	l := New(Options{Sources: 1 << 12})
	r := l.Rules("a.test/", config(f, `{"requests":"10/s","total":"100/s"}`))
	f.Fuzz(func(t *testing.T, name string, records []byte) {
		_ = l.Take(Snapshot{Names: []string{name}, Records: records})
		tally(l, 1, get(alice), nil, r)
	})
}
