package iptables

import (
	"fmt"
	"math"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/ratelimit"
)

// services admits flows to ports without a limit. A flow that an unlimited service admits is not metered by another one
// that names the same port; so unlimited services come first.
func (b *builder) services() {
	c := b.chain(chainServices)
	for _, x := range b.rs.Services {
		if b.meter(x.Meter) == nil {
			b.service(c, x, "-j", "RETURN")
		}
	}
	c.add("metered", nil, "-g", chainRateLimit)
}

// rateLimit admits flows to ports within a limit, and refuses everything that came here without being admitted. Where
// several services name one port, the first by name decides.
func (b *builder) rateLimit() {
	c := b.chain(chainRateLimit)
	for _, x := range b.rs.Services {
		if b.meter(x.Meter) != nil {
			b.service(c, x, "-g", b.limit(x.Meter, firewall.ReasonLimit.Of(x.Meter)))
		}
	}
	c.add("closed", nil, "-g", b.refuse(firewall.ReasonClosed))
}

// service adds a rule for each port range and interface of x.
func (b *builder) service(c *chain, x firewall.Service, verdict ...string) {
	if !b.concerns(x) {
		return
	}
	interfaces := x.Interfaces
	if len(interfaces) == 0 {
		interfaces = []string{""}
	}
	for _, name := range interfaces {
		for _, r := range x.Ports {
			id := x.Name + "-" + ports(r)
			var match []string
			if name != "" {
				id += "-" + name
				match = m("-i %s", wildcard(name))
			}
			match = append(match, port(x.Protocol, r)...)
			if len(x.Sources) > 0 {
				match = append(match, b.set(sourcesName(x), "src")...)
			}
			c.add(id, match, verdict...)
		}
	}
}

// limit makes the chain of a meter, once for each reason, and gives its name. What the limit admits returns.
//
// The memory of sources is a set of ours, because hashlimit's own drops new sources when it is full, silently and always.
// A source enters the set with its first packet and leaves it when its bucket has been full again for a while, which
// changes nothing for it. A source that does not fit is refused, or admitted unmetered, as the meter says. Concurrent
// connections are counted in connection tracking itself and need no memory.
func (b *builder) limit(name string, reason firewall.Reason) string {
	mt := b.meter(name)
	cn := chainName(limitPrefix, name)
	if reason == firewall.ReasonSYN {
		cn = chainSYN
	}
	if b.t.chain(cn) != nil {
		return cn
	}
	c := b.chain(cn)
	if reason == firewall.ReasonSYN {
		c.add("loopback", m("-i lo"), "-j", "RETURN")
	}
	c.add("allow", b.set("allow", "src"), "-j", "RETURN")
	to := b.refuse(reason)
	mask := 32
	if b.v6 {
		mask = 64
	}
	if mt.Limit.Concurrent > 0 {
		c.add("concurrent", m("-m connlimit --connlimit-above %d --connlimit-mask %d --connlimit-saddr", mt.Limit.Concurrent, mask), "-g", to)
	}
	if mt.Limit.Rate > 0 {
		memory := meterName(*mt)
		c.add("remember", nil, m("-j SET --add-set %s%s%s src --exist", setPrefix, memory, b.digit)...)
		full := []string{"-g", to}
		if mt.AdmitWhenFull {
			full = m("-j RETURN")
		}
		c.add("full", b.notSet(memory, "src"), full...)
		c.add("rate", b.hashlimit(*mt, memory), "-g", to)
	}
	return cn
}

// hashlimit matches what goes beyond the rate. Its own table is larger than the set of sources, so that it never fills;
// its name changes with the limit, because the kernel keeps the parameters of a table that exists.
func (b *builder) hashlimit(mt firewall.Meter, name string) []string {
	rate, ok := limitRate(mt.Limit)
	if !ok && b.err == nil {
		b.err = fmt.Errorf("meter %q: limit %v cannot be said in events per second, minute, hour or day", mt.Name, mt.Limit)
	}
	srcmask := ""
	if b.v6 {
		srcmask = " --hashlimit-srcmask 64"
	}
	expire := refill(mt.Limit).Milliseconds() + 1001 // never exactly a unit, which iptables-save would not print
	return m("-m hashlimit --hashlimit-above %s --hashlimit-burst %d --hashlimit-mode srcip --hashlimit-name %s%s%s --hashlimit-htable-size %d --hashlimit-htable-max %d --hashlimit-htable-expire %d%s",
		rate, mt.Limit.Tokens(), setPrefix, name, b.digit, buckets(mt.Sources), min(4*mt.Sources+1024, 1<<20), expire, srcmask)
}

// buckets is a size for hashlimit's table: at most 65,536, at least 16.
func buckets(sources int) int { return min(max(sources/4, 16), 65_536) }

// refill is how long an empty bucket needs to be full again, at least one second and at most a day.
func refill(l ratelimit.Limit) time.Duration {
	d := time.Duration(float64(l.Tokens()) * float64(l.Per) / float64(l.Rate))
	return min(max(d, time.Second), 24*time.Hour)
}

// limitRate writes a rate as iptables-save prints it. The kernel keeps the time between two events in millionths of a
// second; 4999/sec becomes 5000/sec there, and is written so.
func limitRate(l ratelimit.Limit) (string, bool) {
	n, _, unit, ok := l.PerUnit()
	if !ok {
		return "", false
	}
	const scale = 1_000_000
	period := scale * uint64(unit/time.Second) / uint64(n)
	if period == 0 || period > math.MaxUint32*uint64(scale) {
		return "", false
	}
	units := []struct {
		mult uint64
		name string
	}{{scale * 86_400, "day"}, {scale * 3600, "hour"}, {scale * 60, "min"}, {scale, "sec"}}
	i := 1
	for ; i < len(units); i++ { // print_rate in iptables, extensions/libxt_hashlimit.c
		if period > units[i].mult || units[i].mult/period < units[i].mult%period {
			break
		}
	}
	return fmt.Sprintf("%d/%s", units[i-1].mult/period, units[i-1].name), true
}
