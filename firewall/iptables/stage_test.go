package iptables_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/iptables"
	"github.com/platformd/platformd/firewall/ranges"
)

func (h *host) feed(seed byte) firewall.BigSet {
	h.Helper()
	var rs []ranges.Range
	for i := range 2000 {
		rs = append(rs, ranges.Single(netip.AddrFrom4([4]byte{1, seed, byte(i >> 7), byte(i << 1)})))
	}
	info, err := ranges.Write(h.TempDir(), ranges.FromSlice(ranges.Normalize(rs)))
	if err != nil {
		h.Fatal(err)
	}
	return firewall.BigSet{Path: info.Path, Digest: info.Digest, V4: info.V4, V6: info.V6}
}

func (h *host) differences(rs *firewall.Ruleset) []firewall.Change {
	h.Helper()
	want, err := h.d.Render(rs)
	if err != nil {
		h.Fatal(err)
	}
	have, err := h.d.Observe(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return firewall.Diff(want, have)
}

// feeds are the kernel's sets that hold feeds.
func (h *host) feeds() []string {
	h.Helper()
	var out []string
	for _, n := range strings.Fields(h.Exec(h.T, "", "ipset", "list", "-n")) {
		if strings.HasPrefix(n, "platform-feeds") {
			out = append(out, n)
		}
	}
	return out
}

func TestStage(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		h := newHost(t, variant)
		stage := h.d.(firewall.Stager).Stage
		old, next, other := &firewall.Ruleset{Feeds: h.feed(1)}, &firewall.Ruleset{Feeds: h.feed(2)}, &firewall.Ruleset{Feeds: h.feed(3)}
		h.apply(old)
		for _, rs := range []*firewall.Ruleset{other, next} { // the second takes the place of the first
			if err := stage(t.Context(), rs); err != nil {
				t.Fatalf("stage: %v", err)
			}
		}
		if got := h.feeds(); len(got) != 2 {
			t.Errorf("sets after staging: got %v, want that in force and the staged one", got)
		}
		if got := h.differences(old); len(got) != 0 {
			t.Errorf("a staged set is taken for drift: %v", got)
		}
		before := fmt.Sprint(h.feeds())
		h.apply(old)
		if got := fmt.Sprint(h.feeds()); got != before {
			t.Errorf("sets after another Apply: got %s, want %s", got, before)
		}
		h.apply(next)
		if got := h.differences(next); len(got) != 0 {
			t.Errorf("after the staged ruleset was applied: %v", got)
		}
		if got := h.feeds(); len(got) != 1 {
			t.Errorf("sets after the switch: got %v, want one", got)
		}
		in, err := h.d.Probe(t.Context(), "feeds", netip.MustParseAddr("1.2.0.2"))
		if err != nil || !in {
			t.Errorf("probe: got %v, %v, want the staged feed in force", in, err)
		}
		h.apply(&firewall.Ruleset{Off: true})
		if got := h.feeds(); len(got) != 0 {
			t.Errorf("sets after Off: %v", got)
		}
	})
}

func TestTighten(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		h := newHost(t, variant)
		a, b := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.9")
		block := func(x netip.Addr) *firewall.Ruleset {
			return &firewall.Ruleset{Blocks: []firewall.Timed{{Range: ranges.Single(x)}}}
		}
		h.apply(block(a))
		if err := h.d.(*iptables.Driver).Tighten(t.Context(), block(b)); err != nil {
			t.Fatalf("tighten: %v", err)
		}
		for _, x := range []netip.Addr{a, b} { // what was blocked stays so: nothing is made looser
			if in, err := h.d.Probe(t.Context(), "blocks", x); err != nil || !in {
				t.Errorf("probe %v: got %v, %v, want it blocked", x, in, err)
			}
		}
		h.apply(block(b))
		if in, err := h.d.Probe(t.Context(), "blocks", a); err != nil || in {
			t.Errorf("probe %v after Apply: got %v, %v, want it admitted", a, in, err)
		}
	})
}

// What comes and goes while sets are staged is never taken for drift.
func TestObserveBesideStage(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		h := newHost(t, variant)
		inForce := &firewall.Ruleset{Feeds: h.feed(1)}
		h.apply(inForce)
		next := [2]firewall.BigSet{h.feed(2), h.feed(3)}
		done := make(chan error, 1)
		go func() {
			for i := range 20 {
				if err := h.d.(firewall.Stager).Stage(t.Context(), &firewall.Ruleset{Feeds: next[i%2]}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for n := 0; ; n++ {
			select {
			case err := <-done:
				if err != nil || n == 0 {
					t.Errorf("stage: %v, after %d looks", err, n)
				}
				return
			default:
			}
			if got := h.differences(inForce); len(got) != 0 {
				t.Fatalf("look %d: %v", n, got)
			}
		}
	})
}
