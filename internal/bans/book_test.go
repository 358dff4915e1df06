package bans

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

type bookTest struct {
	*testing.T
	now    time.Time
	path   string
	exempt netip.Addr
	book   *Book
}

func newBookTest(t *testing.T) *bookTest {
	b := &bookTest{T: t, now: time.Unix(1_000_000, 0), path: filepath.Join(t.TempDir(), "bans.db"), exempt: netip.MustParseAddr("192.0.2.99")}
	b.open()
	return b
}

func (b *bookTest) open() {
	b.Helper()
	book, err := Open(context.Background(), b.path, Config{
		Now:    func() time.Time { return b.now },
		Exempt: func(a netip.Addr) bool { return a == b.exempt },
		Policy: func(reason string) Policy {
			return Policy{Disabled: reason == "off", Strikes: 3, Window: time.Minute, Duration: func(n int) time.Duration { return time.Duration(n+1) * time.Hour }}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.book = book
	b.Cleanup(func() { book.Close() })
}

func (b *bookTest) strike(source, reason string) (Ban, bool) {
	b.Helper()
	x, banned, err := b.book.Add(context.Background(), Strike{Source: netip.MustParseAddr(source), Reason: reason, Detail: "try\x1b[31m " + source})
	if err != nil {
		b.Fatal(err)
	}
	return x, banned
}

func TestStrikesLeadToLongerBans(t *testing.T) {
	b := newBookTest(t)
	for round := range 3 {
		for i := range 3 {
			x, banned := b.strike("192.0.2.1", "sshd")
			if banned != (i == 2) {
				t.Fatalf("round %d, strike %d: banned %v", round, i, banned)
			}
			if want := time.Duration(round+1) * time.Hour; banned && (x.Until.Sub(b.now) != want || x.Count != round+1) {
				t.Errorf("round %d: got %v, want %v", round, x, want)
			}
		}
		if _, banned := b.strike("192.0.2.1", "sshd"); banned {
			t.Error("a banned source was banned again")
		}
		b.now = b.now.Add(4 * time.Hour)
	}
}

func TestWhatDoesNotAddUp(t *testing.T) {
	b := newBookTest(t)
	for range 10 {
		b.strike("192.0.2.99", "sshd")
		b.strike("127.0.0.1", "sshd")
		b.strike("192.0.2.2", "off")
		b.strike("192.0.2.3", "sshd")
		b.now = b.now.Add(time.Minute)
	}
	b.strike("192.0.2.4", "sshd")
	b.strike("192.0.2.4", "login")
	b.strike("192.0.2.4", "other")
	if got := b.book.List(); len(got) != 0 {
		t.Errorf("got %v, want no ban: exempt, own, switched off, too slow, different reasons", got)
	}
}

func TestIPv6CountsBySubscriber(t *testing.T) {
	b := newBookTest(t)
	b.strike("2001:db8::1", "sshd")
	b.strike("2001:db8::2", "sshd")
	if x, banned := b.strike("2001:db8::ffff:1", "sshd"); !banned || x.Target.String() != "2001:db8::/64" {
		t.Errorf("got %v, %v, want the /64", x, banned)
	}
	if _, ok := b.book.Of(netip.MustParseAddr("2001:db8::77")); !ok {
		t.Error("another address of the /64 is not banned")
	}
}

func TestBansSurviveAndAreLifted(t *testing.T) {
	b := newBookTest(t)
	for range 3 {
		b.strike("192.0.2.1", "sshd")
		b.strike("192.0.2.2", "sshd")
	}
	b.book.Close()
	b.now = b.now.Add(10 * time.Minute)
	b.open()
	got := b.book.List()
	if len(got) != 2 || got[0].Until.Sub(b.now) != 50*time.Minute || strings.ContainsRune(got[0].Detail, 0x1b) {
		t.Fatalf("got %v, want both bans with the time that remains, and no control characters", got)
	}
	lifted, err := b.book.Lift(context.Background(), ranges.Single(netip.MustParseAddr("192.0.2.1")))
	if err != nil || len(lifted) != 1 {
		t.Fatalf("got %v, %v", lifted, err)
	}
	for range 3 {
		b.strike("192.0.2.1", "sshd")
	}
	if x, _ := b.book.Of(netip.MustParseAddr("192.0.2.1")); x.Count != 1 {
		t.Errorf("got count %d, want a lifted source to begin anew", x.Count)
	}
	b.now = b.now.Add(2 * time.Hour)
	if got := b.book.List(); len(got) != 0 {
		t.Errorf("got %v, want bans to end", got)
	}
}
