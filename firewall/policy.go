// Package firewall is the host's packet policy: what an operator asks for (Policy), what that means for a packet
// (Ruleset), and how a ruleset in the kernel is compared with the one that is wanted (Listing, Diff).
//
// The model in words. A packet that belongs to an established flow passes. A new flow is asked, in this order: is its
// source banned, is it on the always-allow list (then no list below concerns it), is it in a block, in a feed, in a
// country that is kept out? Then, if it is addressed to this host or to a published container port, a service must admit
// it, by the port it was originally sent to, and within the service's limit; what no service admits is dropped. Forwarded
// flows pass only from container bridges outwards, or where a published port brought them in. Rules are few and constant
// in number; whatever grows is a set.
//
// Compile and Explain are pure. The drivers in nft and iptables turn a Ruleset into kernel objects; both obey the same
// conformance suite. This package never touches the kernel, runs no program, and knows nothing of Docker, SSH or mail.
package firewall

import (
	"net/netip"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/ratelimit"
)

// Policy is what the operator asks for: the firewall part of the state document. The zero value is a closed firewall.
type Policy struct {
	// Disabled removes everything of ours from the kernel: the host is open.
	Disabled bool `json:"disabled,omitempty"`
	// Driver is "auto" (or empty), "nft" or "iptables".
	Driver  string      `json:"driver,omitempty"`
	Ports   []Port      `json:"ports,omitempty"`
	Echo    Echo        `json:"echo,omitempty"`
	Forward Forward     `json:"forward,omitzero"`
	Output  Output      `json:"output,omitzero"`
	Allow   []Allow     `json:"allow,omitempty"`
	Blocks  []Block     `json:"blocks,omitempty"`
	Feeds   []Feed      `json:"feeds,omitempty"`
	Geo     []GeoRule   `json:"geo,omitempty"`
	GeoData []GeoSource `json:"geo_data,omitempty"`
	// Limits overrides the default limit classes, by name; see DefaultLimits.
	Limits map[string]ratelimit.Limit `json:"limits,omitempty"`
	// SYN limits new TCP connections of one source to all ports together. Zero is no such limit.
	SYN ratelimit.Limit `json:"syn,omitzero"`
}

// Protocol is "tcp" or "udp".
type Protocol string

// The protocols that have ports and can be opened.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Port admits new flows to ports of this host and to published container ports, by the port they were sent to.
type Port struct {
	// Name is unique among ports: letters, digits and dashes, at most 32.
	Name     string      `json:"name"`
	Protocol Protocol    `json:"protocol"`
	Ports    []PortRange `json:"ports"`
	// Sources admits only these addresses; empty is everybody.
	Sources []ranges.Range `json:"sources,omitempty"`
	// Interfaces admits only flows that come in there; empty is every interface.
	Interfaces []string `json:"interfaces,omitempty"`
	// Limit names a limit class; empty is no limit.
	Limit string `json:"limit,omitempty"`
}

// PortRange is First..Last, 1 to 65535; its text form is "22" or "8000-8010".
type PortRange struct{ First, Last uint16 }

// Echo says what happens to ICMP and ICMPv6 echo requests.
type Echo string

// Echo requests are answered within the limit class "ping" (the default), always, or never. Each request counts for the
// limit, also where many belong to one flow.
const (
	EchoLimited Echo = "limited"
	EchoOpen    Echo = "open"
	EchoClosed  Echo = "closed"
)

// Forward is the policy for packets that pass through the host.
type Forward struct {
	// Open lets new flows be forwarded between any interfaces (a router). Blocks, feeds and published ports still count.
	Open bool `json:"open,omitempty"`
	// Bridges are interface names, with * at the end for any suffix, from which new flows may go out. Empty is
	// DefaultBridges.
	Bridges []string `json:"bridges,omitempty"`
}

// Output is the policy for flows that processes of the host open.
type Output struct {
	// Closed refuses new outgoing flows except those in Ports, DNS, DHCP and ICMP.
	Closed bool   `json:"closed,omitempty"`
	Ports  []Port `json:"ports,omitempty"` // Sources are the destinations here; Limit is not allowed
}

// Allow is an address range that no list, ban or limit concerns. It opens no port.
type Allow struct {
	Target  ranges.Range `json:"target"`
	Comment string       `json:"comment,omitempty"`
}

// Block refuses flows from and to Target.
type Block struct {
	Target ranges.Range `json:"target"`
	Reason string       `json:"reason,omitempty"`
	// Since is when it was asked for, Until when it ends; zero is never.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	By    string    `json:"by,omitempty"`
}

// Feed is a block list that somebody else maintains.
type Feed struct {
	// Name is unique among feeds: letters, digits and dashes, at most 32.
	Name string `json:"name"`
	// Source is an https or http URL, or an absolute path.
	Source string `json:"source"`
	// Format is "netset", "json" (Spamhaus), "hosts", "csv:N" (addresses in column N from 1), or empty for detection.
	Format string `json:"format,omitempty"`
	// Every is how often it is fetched; zero is 12 h. At least 5 min.
	Every Duration `json:"every,omitempty"`
	// MinRanges and MaxRanges bound a plausible size; outside of them the last good copy is kept. Zero is 1 and 2,000,000.
	MinRanges int  `json:"min_ranges,omitempty"`
	MaxRanges int  `json:"max_ranges,omitempty"`
	Disabled  bool `json:"disabled,omitempty"`
}

// GeoAction is what a GeoRule does.
type GeoAction string

// GeoBlock keeps the named countries out; GeoAllow keeps everybody else out.
const (
	GeoBlock GeoAction = "block"
	GeoAllow GeoAction = "allow"
)

// GeoRule admits or refuses new inbound flows by the country of their source.
type GeoRule struct {
	Action GeoAction `json:"action"`
	// Countries are ISO 3166-1 alpha-2 codes in upper case.
	Countries []string `json:"countries"`
	// Protocol and Ports narrow the rule; without ports it holds for the whole host.
	Protocol Protocol    `json:"protocol,omitempty"`
	Ports    []PortRange `json:"ports,omitempty"`
	// AdmitUnknown lets addresses of no known country pass an allow rule. A block rule never concerns them.
	AdmitUnknown bool `json:"admit_unknown,omitempty"`
}

// GeoSource is one file of country data.
type GeoSource struct {
	// Path is an absolute path: tor-geoipdb's geoip or geoip6, a MaxMind or DB-IP .mmdb, or a CSV of start,end,country.
	Path string `json:"path"`
	// Format is "tor", "mmdb", "csv", or empty for detection.
	Format string `json:"format,omitempty"`
}

// Duration is a time.Duration with a text form such as "12h".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Source is the part of Compile's input that comes from the host and from files, not from the operator.
type Source struct {
	// Now decides which blocks have ended.
	Now time.Time
	// Bans are addresses refused because of what they did; IPv6 by /64.
	Bans []Timed
	// Feeds is the union of all feeds in force, already without own, private and always-allowed ranges.
	Feeds BigSet
	// Geo is the set of each geo rule, by index into Policy.Geo: the countries named.
	Geo []BigSet
	// OwnAddresses are the addresses of the host's interfaces.
	OwnAddresses []netip.Addr
	// Segments are the networks of apps.
	Segments Segments
}
