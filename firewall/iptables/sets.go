package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

type setKind int

const (
	kindAllow   setKind = iota // its members make the policy looser
	kindDeny                   // its members make it stricter; each has its own end
	kindSources                // of a service; its name tells its content
	kindMeter                  // filled by packets
	kindBig                    // from a file; its name in the kernel tells its content
	kindTuples                 // of several dimensions; its members make the policy looser
	kindNames                  // the same, each with its own end
)

// maxSmall is how many elements a small set can have. The kernel allocates by use, not by this.
const maxSmall = 1 << 20

// maxTimeout is the longest time-out that ipset knows, ipset(8). A longer one is cut, and set again by a later Apply.
const maxTimeout = 2_147_483 * time.Second

// set is one ipset as it should be. name is what it is called in a Listing, with the family digit.
type set struct {
	name    string
	kind    setKind
	v6      bool
	members map[netip.Prefix]time.Time // kindAllow, kindDeny, kindSources; a zero time is never
	big     firewall.BigSet
	content string // kindBig: hash of the file's digest and size
	max     uint32
	timeout uint32 // seconds; kindMeter
	now     time.Time
	// dimensions is the type of a set of tuples, whose members are written as ipset(8) does.
	dimensions string
	tuples     map[string]time.Time
}

func (s *set) timed() bool { return s.kind == kindDeny || s.kind == kindMeter || s.kind == kindNames }

func (s *set) typ() string {
	if s.kind == kindMeter {
		return "hash:ip"
	}
	if s.dimensions != "" {
		return s.dimensions
	}
	return "hash:net"
}

// create is the ipset command that makes it as name.
func (s *set) create(name string, hashsize uint32) string {
	family := "inet"
	if s.v6 {
		family = "inet6"
	}
	line := fmt.Sprintf("create %s %s family %s hashsize %d maxelem %d", name, s.typ(), family, hashsize, s.max)
	if s.kind == kindMeter && s.v6 {
		line += " netmask 64"
	}
	if s.timed() {
		line += fmt.Sprintf(" timeout %d", s.timeout)
	}
	return line
}

// listSets makes the sets of a ruleset.
func (s *spec) listSets(rs *firewall.Ruleset, now time.Time) error {
	for _, v6 := range []bool{false, true} {
		digit := digitOf(v6)
		s.add(&set{name: "allow" + digit, kind: kindAllow, v6: v6, members: untimed(rs.Allow, v6)})
		s.add(&set{name: "bans" + digit, kind: kindDeny, v6: v6, members: timed(rs.Bans, v6, now)})
		s.add(&set{name: "blocks" + digit, kind: kindDeny, v6: v6, members: timed(rs.Blocks, v6, now)})
		s.addBig("feeds", rs.Feeds, v6, false)
		for _, g := range rs.Geo {
			s.addBig(g.Name+"_", g.Set, v6, g.Refuse == "notin")
		}
		for _, x := range slices.Concat(rs.Services, rs.Output.Services) {
			if members := untimed(x.Sources, v6); len(members) > 0 {
				s.add(&set{name: sourcesName(x) + digit, kind: kindSources, v6: v6, members: members})
			}
		}
		for _, m := range rs.Meters {
			if m.Limit.Rate > 0 {
				s.add(&set{name: meterName(m) + digit, kind: kindMeter, v6: v6, max: uint32(max(m.Sources, 1)), timeout: uint32((refill(m.Limit)+2*time.Second-1)/time.Second) + 1})
			}
		}
	}
	s.segmentSets(rs, now)
	for _, x := range s.sets {
		x.now = now
		if len(setPrefix+x.name) > 31 || (x.kind == kindBig && len(x.kernelName(1<<25)) > 31) {
			return fmt.Errorf("set %s: the name is too long for ipset; at most 31 characters are allowed", x.name)
		}
	}
	return nil
}

// add adds a set unless it is there already.
func (s *spec) add(x *set) {
	if x.max == 0 {
		x.max = maxSmall
	}
	if !slices.ContainsFunc(s.sets, func(y *set) bool { return y.name == x.name }) {
		s.sets = append(s.sets, x)
	}
}

// addBig adds a family of a big set that has ranges, or that is wanted even if it is empty.
func (s *spec) addBig(name string, b firewall.BigSet, v6, always bool) {
	n := b.V4
	if v6 {
		n = b.V6
	}
	if n > 0 || always {
		s.add(&set{name: name + digitOf(v6), kind: kindBig, v6: v6, big: b, content: hash(b.Digest, strconv.Itoa(n), digitOf(v6))})
	}
}

func digitOf(v6 bool) string {
	if v6 {
		return "6"
	}
	return "4"
}

// sourcesName is the name of the set of a service's sources, without the family digit.
func sourcesName(x firewall.Service) string {
	var all []string
	for _, r := range x.Sources {
		all = append(all, r.String())
	}
	return "s_" + hash(all...) + "_"
}

// meterName is the name of a meter's memory, without the family digit.
func meterName(m firewall.Meter) string {
	return "m_" + hash(m.Name, m.Limit.String(), strconv.Itoa(m.Sources), strconv.FormatBool(m.AdmitWhenFull)) + "_"
}

// kernelName is what the set is called in the kernel; elements is how many elements a big set has there, as prefixes.
// The name of a big set tells what is in it: platform-feeds4-HASH-COUNT, the count in base 36.
func (s *set) kernelName(elements int) string {
	if s.kind != kindBig {
		return setPrefix + s.name
	}
	return setPrefix + s.name + "-" + s.content + "-" + strconv.FormatInt(int64(elements), 36)
}

// splitName takes a name in the kernel apart. big is false for a set whose name does not tell its content.
func splitName(kernel string) (name, content string, elements int, big bool) {
	name = strings.TrimPrefix(kernel, setPrefix)
	parts := strings.Split(name, "-")
	if len(parts) != 3 || len(parts[1]) != 8 {
		return name, "", 0, false
	}
	n, err := strconv.ParseInt(parts[2], 36, 32)
	if err != nil {
		return name, "", 0, false
	}
	return parts[0], parts[1], int(n), true
}

// timed spells ranges as prefixes, without what has ended.
func timed(in []firewall.Timed, v6 bool, now time.Time) map[netip.Prefix]time.Time {
	out := map[netip.Prefix]time.Time{}
	for _, t := range in {
		if t.Range.Is4() == v6 || (!t.Until.IsZero() && !t.Until.After(now)) {
			continue
		}
		for _, p := range prefixes(t.Range) {
			out[p] = t.Until
		}
	}
	return out
}

func untimed(in []ranges.Range, v6 bool) map[netip.Prefix]time.Time {
	out := map[netip.Prefix]time.Time{}
	for _, r := range in {
		if r.Is4() == v6 {
			continue
		}
		for _, p := range prefixes(r) {
			out[p] = time.Time{}
		}
	}
	return out
}

// prefixes covers exactly r. ipset has no prefix of length 0: the whole family is two halves.
func prefixes(r ranges.Range) []netip.Prefix {
	out := r.Prefixes()
	if len(out) == 1 && out[0].Bits() == 0 {
		half := netip.PrefixFrom(r.From, 1)
		upper := r.From.AsSlice()
		upper[0] = 0x80
		a, _ := netip.AddrFromSlice(upper)
		return []netip.Prefix{half, netip.PrefixFrom(a, 1)}
	}
	return out
}

// seconds is the time-out of a member: 0 is never, and a fraction counts as a whole second.
func seconds(until, now time.Time) uint32 {
	if until.IsZero() {
		return 0
	}
	d := min(until.Sub(now), maxTimeout)
	return max(1, uint32((d+time.Second-1)/time.Second))
}
