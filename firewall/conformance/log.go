package conformance

import (
	"context"
	"net/netip"
	"sync"

	"github.com/florianl/go-nflog/v2"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
)

func logCases() []testCase {
	return []testCase{{"refused packets are logged with their reason", logged}}
}

// logged listens as the daemon does and provokes refusals.
func logged(e *env) {
	nf, err := nflog.Open(&nflog.Config{Group: firewall.LogGroup, Copymode: nflog.CopyPacket, Bufsize: firewall.LogSnapLen})
	if err != nil {
		e.Fatalf("open NFLOG: %v", err)
	}
	defer nf.Close()
	var mu sync.Mutex
	seen := map[string]netip.Addr{} // prefix -> last IPv4 or IPv6 source
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	err = nf.RegisterWithErrorFunc(ctx, func(a nflog.Attribute) int {
		mu.Lock()
		defer mu.Unlock()
		if a.Prefix != nil && a.Payload != nil {
			seen[*a.Prefix] = sourceOf(*a.Payload)
		}
		return 0
	}, func(error) int { return 0 })
	if err != nil {
		e.Fatalf("listen to NFLOG: %v", err)
	}
	rs := closed(service("ssh", firewall.TCP, 22))
	rs.Blocks = timed("192.0.2.7", "2001:db8:7::7")
	rs.Bans = timed("192.0.2.9", "2001:db8:9::/64")
	rs.Feeds = e.bigSet("192.0.2.11", "2001:db8:11::/64")
	e.apply(rs)
	for _, s := range []string{"192.0.2.9", "2001:db8:9::9"} {
		from := e.source(s)
		e.sees(from, "tcp", e.host(family(from.Src), 22), nstest.Filtered)
	}
	for _, c := range []struct {
		source string
		port   uint16
		reason firewall.Reason
	}{
		{"192.0.2.7", 22, firewall.ReasonBlock}, {"2001:db8:7::7", 22, firewall.ReasonBlock},
		{"192.0.2.11", 22, firewall.ReasonFeed}, {"2001:db8:11::7", 22, firewall.ReasonFeed},
		{"192.0.2.8", 23, firewall.ReasonClosed}, {"2001:db8:8::7", 23, firewall.ReasonClosed},
	} {
		from := e.source(c.source)
		e.sees(from, "tcp", e.host(family(from.Src), c.port), nstest.Filtered)
		e.until("logged: "+c.source+" "+string(c.reason), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return seen[firewall.LogPrefix+string(c.reason)] == from.Src
		})
	}
	mu.Lock()
	defer mu.Unlock()
	if a, ok := seen[firewall.LogPrefix+string(firewall.ReasonBan)]; ok {
		e.Errorf("a ban of %v was logged, want none: it is an event already", a)
	}
}

// sourceOf reads the source address of an IP packet.
func sourceOf(b []byte) netip.Addr {
	var a netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		a, _ = netip.AddrFromSlice(b[12:16])
	case len(b) >= 40 && b[0]>>4 == 6:
		a, _ = netip.AddrFromSlice(b[8:24])
	}
	return a
}
