package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// Chains of ours besides PLATFORM, which is the one for packets to this host.
const (
	chainForward      = "PLATFORM_FORWARD"
	chainOutput       = "PLATFORM_OUTPUT"
	chainLists        = "PLATFORM_LISTS"        // may the source of a new flow come in at all?
	chainDestinations = "PLATFORM_DESTINATIONS" // may the host or a container open a flow to there?
	chainServices     = "PLATFORM_SERVICES"     // is the port open, without a limit?
	chainRateLimit    = "PLATFORM_RATELIMIT"    // is the port open, within a limit? Everything else ends here.
	chainSYN          = "PLATFORM_SYN"          // too many new connections to all ports?
	limitPrefix       = "PLATFORM_LIMIT_"       // one for each meter
	dropPrefix        = "PLATFORM_DROP_"        // one for each reason
)

// input is asked about every packet to this host.
func (b *builder) input() {
	c := b.chain(chainInput)
	c.add("loopback", m("-i lo"), "-j", "RETURN")
	b.fromSegments(c, "segments", "-i", "-j", chainSegment)
	b.fromSegments(c, "admitted", "-i", "-j", "RETURN")
	if b.v6 {
		// RFC 4861, section 6.1: a hop limit of 255 proves that the packet was not forwarded. A neighbour in a banned /64, such
		// as the router, must stay one.
		for _, t := range []int{133, 134, 135, 136} {
			c.add(fmt.Sprint("neighbours-", t), m("-p ipv6-icmp -m icmp6 --icmpv6-type %d -m hl --hl-eq 255", t), "-j", "RETURN")
		}
	}
	c.add("bans", append(b.set("bans", "src"), b.notSet("allow", "src")...), "-g", b.refuse(firewall.ReasonBan))
	if b.rs.Echo == firewall.EchoLimited && b.meter("ping") != nil {
		// All requests of one ping program are one flow: each counts.
		c.add("echo-again", append(b.echoRequest(), m("-m conntrack --ctstate ESTABLISHED")...), "-g", b.limit("ping", firewall.ReasonLimit.Of("ping")))
	}
	c.add("established", m("-m conntrack --ctstate RELATED,ESTABLISHED"), "-j", "RETURN")
	if b.v6 {
		for _, t := range []int{130, 131, 132, 143} {
			c.add(fmt.Sprint("listeners-", t), m("-s fe80::/10 -p ipv6-icmp -m icmp6 --icmpv6-type %d", t), "-j", "RETURN")
		}
		c.add("dhcp", m("-s fe80::/10 -p udp -m udp --sport 547 --dport 546"), "-j", "RETURN")
	} else {
		c.add("dhcp", m("-p udp -m udp --sport 67 --dport 68"), "-j", "RETURN")
	}
	c.add("invalid", m("-m conntrack --ctstate INVALID"), "-g", b.refuse(firewall.ReasonInvalid))
	c.add("lists", b.notSet("allow", "src"), "-j", chainLists)
	switch {
	case b.rs.Echo == firewall.EchoClosed:
	case b.rs.Echo == firewall.EchoLimited && b.meter("ping") != nil:
		c.add("echo", b.echoRequest(), "-g", b.limit("ping", firewall.ReasonLimit.Of("ping")))
	default:
		c.add("echo", b.echoRequest(), "-j", "RETURN")
	}
	if b.v6 {
		for _, t := range []int{1, 2, 3, 4} { // RFC 4890, section 4.4.1: must not be dropped
			c.add(fmt.Sprint("errors-", t), m("-p ipv6-icmp -m icmp6 --icmpv6-type %d", t), "-j", "RETURN")
		}
	} else {
		for _, t := range []int{3, 11, 12} { // with 3/4, path MTU discovery (RFC 1191)
			c.add(fmt.Sprint("errors-", t), m("-p icmp -m icmp --icmp-type %d", t), "-j", "RETURN")
		}
		c.add("igmp", m("-p igmp"), "-j", "RETURN")
	}
	c.add("services", nil, "-g", chainServices)
}

func (b *builder) echoRequest() []string {
	if b.v6 {
		return m("-p ipv6-icmp -m icmp6 --icmpv6-type 128")
	}
	return m("-p icmp -m icmp --icmp-type 8")
}

// lists is asked about new flows to this host or through it, unless their source is always allowed.
func (b *builder) lists() {
	c := b.chain(chainLists)
	if b.rs.SYN != "" && b.meter(b.rs.SYN) != nil {
		c.add("syn", m("-p tcp"), "-j", b.limit(b.rs.SYN, firewall.ReasonSYN))
	}
	c.add("blocks", b.set("blocks", "src"), "-g", b.refuse(firewall.ReasonBlock))
	// What containers send has the container's address as its source, which no list of others knows.
	b.fromSegments(c, "segments", "-i", "-j", "RETURN")
	for _, name := range b.rs.Forward.Bridges {
		c.add("bridge-"+name, m("-i %s", wildcard(name)), "-j", "RETURN")
	}
	if b.has("feeds") {
		c.add("feeds", b.set("feeds", "src"), "-g", b.refuse(firewall.ReasonFeed))
	}
	for _, g := range b.rs.Geo {
		b.geo(c, g)
	}
}

func (b *builder) geo(c *chain, g firewall.GeoScope) {
	var match []string
	switch {
	case g.Refuse == "notin":
		match = b.notSet(g.Name+"_", "src")
	case b.has(g.Name + "_"):
		match = b.set(g.Name+"_", "src")
	default:
		return
	}
	to := b.refuse(firewall.ReasonGeo.Of(g.Name))
	if len(g.Ports) == 0 {
		c.add(g.Name, match, "-g", to)
		return
	}
	protocols := []firewall.Protocol{g.Protocol}
	if g.Protocol == "" {
		protocols = []firewall.Protocol{firewall.TCP, firewall.UDP}
	}
	for _, p := range protocols {
		for _, r := range g.Ports {
			c.add(fmt.Sprintf("%s-%s-%s", g.Name, p, ports(r)), append(port(p, r), match...), "-g", to)
		}
	}
}

// destinations is asked about new flows that the host or a container opens. Without it a peer that the host itself is
// sending to would stay connected, because its outgoing packets make a new entry in connection tracking.
func (b *builder) destinations() {
	c := b.chain(chainDestinations)
	c.add("blocks", b.set("blocks", "dst"), "-g", b.refuse(firewall.ReasonBlock))
	if b.has("feeds") {
		c.add("feeds", b.set("feeds", "dst"), "-g", b.refuse(firewall.ReasonFeed))
	}
}

// forward is asked about every packet through this host.
func (b *builder) forward() {
	c := b.chain(chainForward)
	b.fromSegments(c, "segments", "-i", "-j", chainSegment)
	for _, dir := range []string{"src", "dst"} {
		c.add("bans-"+dir, append(b.set("bans", dir), b.notSet("allow", dir)...), "-g", b.refuse(firewall.ReasonBan))
	}
	c.add("established", m("-m conntrack --ctstate RELATED,ESTABLISHED"), "-j", "RETURN")
	c.add("invalid", m("-m conntrack --ctstate INVALID"), "-g", b.refuse(firewall.ReasonInvalid))
	c.add("lists", b.notSet("allow", "src"), "-j", chainLists)
	c.add("destinations", b.notSet("allow", "dst"), "-j", chainDestinations)
	b.fromSegments(c, "admitted", "-i", "-j", "RETURN")
	c.add("published", m("-m conntrack --ctstate DNAT"), "-g", chainServices)
	if len(b.rs.Segments.Bridges) > 0 {
		b.fromSegments(c, "into", "-o", "-g", b.refuse(firewall.ReasonForward))
	}
	if b.rs.Forward.Open {
		return
	}
	for _, name := range b.rs.Forward.Bridges {
		c.add("bridge-"+name, m("-i %s", wildcard(name)), "-j", "RETURN")
	}
	c.add("refuse", nil, "-g", b.refuse(firewall.ReasonForward))
}

// output is asked about every packet that this host sends.
func (b *builder) output() {
	c := b.chain(chainOutput)
	c.add("loopback", m("-o lo"), "-j", "RETURN")
	if b.v6 {
		for _, t := range []int{133, 134, 135, 136} {
			c.add(fmt.Sprint("neighbours-", t), m("-p ipv6-icmp -m icmp6 --icmpv6-type %d", t), "-j", "RETURN")
		}
	}
	c.add("bans", append(b.set("bans", "dst"), b.notSet("allow", "dst")...), "-g", b.refuse(firewall.ReasonBan))
	c.add("established", m("-m conntrack --ctstate RELATED,ESTABLISHED"), "-j", "RETURN")
	c.add("destinations", b.notSet("allow", "dst"), "-j", chainDestinations)
	if !b.rs.Output.Closed {
		return
	}
	b.fromSegments(c, "segments", "-o", "-j", "RETURN") // the proxy
	icmp, dhcp := "icmp", uint16(67)
	if b.v6 {
		icmp, dhcp = "ipv6-icmp", 547
	}
	c.add("icmp", m("-p %s", icmp), "-j", "RETURN")
	for _, p := range []firewall.Protocol{firewall.TCP, firewall.UDP} {
		c.add("dns-"+string(p), port(p, firewall.PortRange{First: 53, Last: 53}), "-j", "RETURN")
	}
	c.add("dhcp", port(firewall.UDP, firewall.PortRange{First: dhcp, Last: dhcp}), "-j", "RETURN")
	for _, x := range b.rs.Output.Services {
		if !b.concerns(x) {
			continue
		}
		for _, r := range x.Ports {
			match := port(x.Protocol, r)
			if len(x.Sources) > 0 {
				match = append(match, b.set(sourcesName(x), "dst")...)
			}
			c.add("open-"+x.Name+"-"+ports(r), match, "-j", "RETURN")
		}
	}
	c.add("refuse", nil, "-g", b.refuse(firewall.ReasonOutput))
}

// concerns reports whether a service admits anything of this family.
func (b *builder) concerns(x firewall.Service) bool {
	return len(x.Sources) == 0 || b.has(sourcesName(x))
}

// port matches by the port that the first packet of the flow was sent to, before any address translation.
func port(p firewall.Protocol, r firewall.PortRange) []string {
	return m("-p %s -m conntrack --ctorigdstport %s", p, ports(r))
}

func ports(r firewall.PortRange) string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d:%d", r.First, r.Last)
}

// wildcard spells "docker*" as iptables does.
func wildcard(name string) string {
	if s, ok := strings.CutSuffix(name, "*"); ok {
		return s + "+"
	}
	return name
}

func (b *builder) meter(name string) *firewall.Meter {
	i := slices.IndexFunc(b.rs.Meters, func(m firewall.Meter) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &b.rs.Meters[i]
}
