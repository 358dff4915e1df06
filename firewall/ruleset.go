package firewall

import (
	"slices"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/ratelimit"
)

// Ruleset is the meaning of a policy at one moment, in a form that a driver can put into the kernel without a further
// decision. Slices are sorted and without duplicates, so that equal meanings are equal values. It can be written as JSON
// and applied later without the state, which is what happens at early boot.
type Ruleset struct {
	// Off means that nothing of ours is in the kernel.
	Off      bool           `json:"off,omitempty"`
	Allow    []ranges.Range `json:"allow,omitempty"`
	Bans     []Timed        `json:"bans,omitempty"`   // single IPv4 addresses and IPv6 /64s, none of them overlapping Allow
	Blocks   []Timed        `json:"blocks,omitempty"` // disjoint; Allow is not subtracted, the driver checks Allow first
	Feeds    BigSet         `json:"feeds,omitzero"`   // new flows from and to these; flows from bridges by destination only
	Geo      []GeoScope     `json:"geo,omitempty"`
	Services []Service      `json:"services,omitempty"`
	Meters   []Meter        `json:"meters,omitempty"` // every limit class that a service or Echo names, by name
	Echo     Echo           `json:"echo"`
	// SYN names the meter for new TCP connections to all ports together, "" for none.
	SYN     string         `json:"syn,omitempty"`
	Forward ForwardRuleset `json:"forward"`
	Output  OutputRuleset  `json:"output"`
	// Segments are asked before Forward, which does not concern them.
	Segments Segments `json:"segments,omitzero"`
}

// Timed is a range with the moment at which it ends by itself; zero is never.
type Timed struct {
	Range ranges.Range `json:"range"`
	Until time.Time    `json:"until,omitzero"`
}

// BigSet is a file of ranges (see ranges.File) with its digest and its size; the zero value is the empty set.
type BigSet struct {
	Path   string `json:"path,omitempty"`
	Digest string `json:"digest,omitempty"` // SHA-256 in hex
	V4     int    `json:"v4,omitempty"`     // ranges, not addresses
	V6     int    `json:"v6,omitempty"`
}

// GeoScope refuses new inbound flows by country, for the whole host or for some ports. What comes in from
// ForwardRuleset.Bridges is not inbound.
type GeoScope struct {
	// Name is unique and stable: "geo0", "geo1" ... by position in the policy.
	Name string `json:"name"`
	// Refuse is "in" to drop sources in Set, "notin" to drop sources not in Set. An always-allowed, private, loopback or
	// link-local source is never dropped here: Compile's caller puts those into Set for "notin".
	Refuse   string      `json:"refuse"`
	Protocol Protocol    `json:"protocol,omitempty"` // with Ports: "" is tcp and udp
	Ports    []PortRange `json:"ports,omitempty"`    // empty: every packet of a new inbound flow, whatever its protocol
	Set      BigSet      `json:"set"`
}

// Service admits new flows to Ports. Where several services name one port, any of them without a meter is enough; if none
// of those admits the flow, the first by name that it fits decides, with its meter.
type Service struct {
	Name       string         `json:"name"`
	Protocol   Protocol       `json:"protocol"`
	Ports      []PortRange    `json:"ports"` // sorted, disjoint
	Sources    []ranges.Range `json:"sources,omitempty"`
	Interfaces []string       `json:"interfaces,omitempty"`
	Meter      string         `json:"meter,omitempty"`
}

// Meter is a limit per source (IPv4 address or IPv6 /64) with its own memory of sources, shared by all services that
// name it. Always-allowed sources are not metered.
type Meter struct {
	Name  string          `json:"name"`
	Limit ratelimit.Limit `json:"limit"`
	// Sources is how many sources it remembers at once, for the rate. Concurrent connections may be counted elsewhere.
	Sources int `json:"sources"`
	// AdmitWhenFull decides about new sources when the memory is full: true admits them unmetered (a flood from many
	// addresses cannot close the service), false refuses them (a flood cannot get around the limit).
	AdmitWhenFull bool `json:"admit_when_full,omitempty"`
}

// ForwardRuleset is the policy for packets that pass through.
type ForwardRuleset struct {
	Open    bool     `json:"open,omitempty"`
	Bridges []string `json:"bridges,omitempty"` // names, * at the end matches any suffix
}

// OutputRuleset is the policy for flows that the host opens. Blocks and bans hold in any case.
type OutputRuleset struct {
	Closed   bool      `json:"closed,omitempty"`
	Services []Service `json:"services,omitempty"` // Sources are destinations
}

// Reason names why a packet is refused. A driver keeps one counter for each, named by CounterName, and marks what it logs
// with it. Reasons with an object are written "limit:ssh" or "geo:geo0".
type Reason string

// The reasons, in the order in which a packet meets them.
const (
	ReasonBan     Reason = "ban"
	ReasonSpoof   Reason = "spoof"   // from a segment, with a source of somebody else
	ReasonInvalid Reason = "invalid" // connection tracking cannot place the packet
	ReasonSYN     Reason = "syn"     // more new connections than Ruleset.SYN allows
	ReasonBlock   Reason = "block"
	ReasonFeed    Reason = "feed"
	ReasonGeo     Reason = "geo"    // with the scope: "geo:geo0"
	ReasonLimit   Reason = "limit"  // with the meter: "limit:ssh"
	ReasonEgress  Reason = "egress" // from a segment, to what it does not reach
	ReasonClosed  Reason = "closed" // no service admits it
	ReasonForward Reason = "forward"
	ReasonOutput  Reason = "output"
)

// Of adds the object to a reason.
func (r Reason) Of(object string) Reason { return r + ":" + Reason(object) }

// Counter is how many packets and bytes were refused for a reason since the counter was made.
type Counter struct {
	Reason  Reason `json:"reason"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// LogGroup is the NFLOG group that refused packets are sent to, at most LogRate a second for each reason and family, with
// the prefix "platform:REASON". Packets of banned sources are counted but not sent there.
const (
	LogGroup  = 7021
	LogRate   = 50
	LogBurst  = 100
	LogPrefix = "platform:"
	// LogSnapLen is how many bytes of a refused packet are copied: an IPv6 header, extensions and the ports.
	LogSnapLen = 128
)

// DropMissing empties the big sets whose file is gone, so that the rest of the ruleset can be put in force. A scope that
// admits only some countries goes as a whole: an empty set would keep everybody out.
func (rs *Ruleset) DropMissing(exists func(path string) bool) {
	if rs.Feeds.Path != "" && !exists(rs.Feeds.Path) {
		rs.Feeds = BigSet{}
	}
	rs.Geo = slices.DeleteFunc(rs.Geo, func(g GeoScope) bool { return g.Set.Path != "" && !exists(g.Set.Path) })
}

// Without is rs without the bans and blocks that have ended by now.
func (rs *Ruleset) Without(now time.Time) *Ruleset {
	ended := func(t Timed) bool { return !t.Until.IsZero() && !t.Until.After(now) }
	out := *rs
	out.Bans = slices.DeleteFunc(slices.Clone(rs.Bans), ended)
	out.Blocks = slices.DeleteFunc(slices.Clone(rs.Blocks), ended)
	out.Segments.List = slices.Clone(rs.Segments.List)
	for i := range out.Segments.List {
		x := &out.Segments.List[i]
		x.Names = slices.DeleteFunc(slices.Clone(x.Names), func(a Admitted) bool { return !a.Until.After(now) })
	}
	return &out
}
