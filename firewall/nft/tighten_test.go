package nft

import (
	"net/netip"
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/nstest"
)

func TestTighten(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		nstest.NewTopology(t)
		d := newDriver(t)
		a, b := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::9")
		only := func(x netip.Addr) *firewall.Ruleset {
			ban := ranges.Single(x)
			if x.Is6() {
				ban = ranges.Of(netip.PrefixFrom(x, 64).Masked())
			}
			return &firewall.Ruleset{Blocks: []firewall.Timed{{Range: ranges.Single(x)}}, Bans: []firewall.Timed{{Range: ban}}}
		}
		if _, err := d.Apply(t.Context(), only(a)); err != nil {
			t.Fatal(err)
		}
		if err := d.(firewall.Tightener).Tighten(t.Context(), only(b)); err != nil {
			t.Fatalf("tighten: %v", err)
		}
		check := func(when, set string, x netip.Addr, want bool) {
			t.Helper()
			if in, err := d.Probe(t.Context(), set, x); err != nil || in != want {
				t.Errorf("%s: %v in %s: got %v, %v, want %v", when, x, set, in, err, want)
			}
		}
		check("after Tighten", "blocks", a, true) // nothing is made looser
		check("after Tighten", "blocks", b, true)
		check("after Tighten", "bans", a, true)
		check("after Tighten", "bans", b, true)
		if _, err := d.Apply(t.Context(), only(b)); err != nil {
			t.Fatal(err)
		}
		check("after Apply", "blocks", a, false)
		check("after Apply", "blocks", b, true)
	})
}
