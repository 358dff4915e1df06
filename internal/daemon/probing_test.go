package daemon

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/nflog"
	"github.com/platformd/platformd/internal/doctor"
	"github.com/platformd/platformd/internal/doctor/probe"
	"github.com/platformd/platformd/internal/nstest"
)

// TestProbesAreNoNews: a probe's addresses are never banned, its packets not shown, and its addresses not the host's own;
// all that ends some time after it.
func TestProbesAreNoNews(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		nstest.Enter(t)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		d := &Daemon{probes: &probes{now: func() time.Time { return now }}, drops: newDrops()}
		d.own.Store(&[]netip.Addr{})
		v4, v6, other := netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("198.18.0.6")
		d.probes.add(probe.Wire{V4: probe.Ends{Host: v4.Prev(), Probe: v4, Bits: 30}, V6: probe.Ends{Host: v6.Prev(), Probe: v6, Bits: 126}})
		for _, a := range []netip.Addr{v4, v6} {
			if !d.exempt(a) {
				t.Errorf("%v: got banned, want exempt", a)
			}
			d.dropped(nflog.Packet{Source: a})
		}
		d.dropped(nflog.Packet{Source: other, Interface: probe.Link})
		d.dropped(nflog.Packet{Source: other, Interface: "eth0"})
		if got, _ := d.Drops(t.Context(), 0, 10); len(got) != 1 || got[0].Source != other.String() {
			t.Errorf("drops: got %+v, want only that of %v", got, other)
		}
		now = now.Add(remembered + time.Second)
		d.probes.add(probe.Wire{})
		if d.probes.has(v4) || d.probes.has(v6) || d.probes.has(other) {
			t.Error("long after the probe: its addresses are still known")
		}
	})
}

func TestJudgeProbe(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:80")
	wire := probe.Wire{V4: probe.Ends{Host: netip.MustParseAddr("198.18.0.1")}}
	for _, c := range []struct {
		name  string
		r     probe.Report
		err   error
		state doctor.State // of the last finding
		says  string
	}{
		{"agrees", probe.Report{Wire: wire, Knocks: map[probe.Result]int{probe.Silent: 7}}, nil, doctor.OK, "7 silent; IPv6 is not in use; all as the policy says"},
		{"no time", probe.Report{Wire: wire, Left: 3}, nil, doctor.Warning, "no time for 3 ports"},
		{"off", probe.Report{}, probe.ErrOff, doctor.Skipped, "off"},
		{"no address", probe.Report{}, probe.ErrNoAddress, doctor.Skipped, "no address"},
		{"impossible", probe.Report{}, errors.New("EPERM"), doctor.Failed, "could not be done"},
		{"closed", probe.Report{Disagreements: []probe.Disagreement{{Protocol: firewall.TCP, To: at, Got: probe.Silent, Admitted: true, Rule: "port http"}}}, nil, doctor.Failed,
			"80/tcp of 192.0.2.1 is silent, but the policy opens it (port http)"},
		{"open", probe.Report{Disagreements: []probe.Disagreement{{Protocol: firewall.TCP, To: at, Got: probe.Open, Rule: "no port is open for it"}}}, nil, doctor.Failed, "is open, but the policy closes it"},
		{"let through", probe.Report{Disagreements: []probe.Disagreement{{Protocol: firewall.TCP, To: at, Got: probe.Refused}}}, nil, doctor.Failed, "answers that nothing listens"},
		{"many", probe.Report{More: 5}, nil, doctor.Failed, "and 5 more"},
	} {
		found := judgeProbe(c.r, c.err)
		last := found[len(found)-1]
		if last.State != c.state || !strings.Contains(last.Detail, c.says) {
			t.Errorf("%s: got %+v, want %s with %q", c.name, last, c.state, c.says)
		}
	}
}
