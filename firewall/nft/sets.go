package nft

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

type setKind int

const (
	kindRanges   setKind = iota // sorted disjoint ranges: an interval set
	kindTimed                   // the same, each with its own end
	kindBans                    // single keys, each with its own end: a hash
	kindMeter                   // filled by packets
	kindServices                // the map from protocol and port to a verdict
	kindPages                   // a hash of the parts of the address space in which big sets have something
	kindTuples                  // keys of several fields, each an interval
	kindNames                   // single keys of several fields, each with its own end: a hash
)

// set is one kernel set as it should be. A set with generations has "_" and eight characters after its name in the
// kernel; what refers to it is switched from one generation to the next in a transaction of its own, because changing the
// elements of an interval set in place lets packets through on some kernels.
type set struct {
	name        string
	kind        setKind
	v6          bool
	generations bool
	size        uint32        // kindMeter
	timeout     time.Duration // kindMeter
	limit       string        // kindMeter: its members carry the limit that was in force when they were made
	small       []firewall.Timed
	big         *firewall.BigSet
	lists       []*firewall.BigSet // kindPages
	services    []servicePort
	key         nftables.SetDatatype // kindTuples, kindNames
	tuples      []tuple              // the same
}

type servicePort struct {
	protocol firewall.Protocol
	ports    firewall.PortRange
	verdict  *expr.Verdict
}

var serviceKey = nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)

// listSets makes the sets that lists and bans live in.
func (s *spec) listSets(rs *firewall.Ruleset) {
	for _, f := range families() {
		v6 := f.digit == "6"
		s.sets = append(s.sets,
			&set{name: "bans" + f.digit, kind: kindBans, v6: v6, small: ofFamily(rs.Bans, v6)},
			&set{name: "blocks" + f.digit, kind: kindTimed, v6: v6, generations: true, small: ofFamily(rs.Blocks, v6)},
			&set{name: "allow" + f.digit, kind: kindRanges, v6: v6, generations: true, small: ofFamily(untimed(rs.Allow), v6)})
	}
	s.bigSets("feeds", rs.Feeds, false)
	for _, g := range rs.Geo {
		s.bigSets(g.Name+"_", g.Set, g.Refuse == "notin")
	}
	s.addPages(rs)
	for _, x := range rs.Output.Services {
		s.smallSets("to_"+word(x.Name)+"_", x.Sources)
	}
}

// bigSets adds the families of a big set that have ranges, or both with always.
func (s *spec) bigSets(name string, b firewall.BigSet, always bool) {
	for _, f := range families() {
		v6 := f.digit == "6"
		if n := bigLen(b, v6); n > 0 || always {
			s.sets = append(s.sets, &set{name: name + f.digit, kind: kindRanges, v6: v6, generations: true, big: &b})
		}
	}
}

func bigLen(b firewall.BigSet, v6 bool) int {
	if v6 {
		return b.V6
	}
	return b.V4
}

// smallSets adds the families of a short list that have members.
func (s *spec) smallSets(name string, rs []ranges.Range) {
	for _, f := range families() {
		s.smallFamily(name, rs, f.digit == "6")
	}
}

func (s *spec) smallFamily(name string, rs []ranges.Range, v6 bool) {
	x := &set{kind: kindRanges, v6: v6, generations: true, small: ofFamily(untimed(rs), v6)}
	if x.name = name + x.family().digit; len(x.small) > 0 {
		s.sets = append(s.sets, x)
	}
}

func (s *spec) meterSet(name string, m firewall.Meter, timeout time.Duration) {
	for _, f := range families() {
		if !s.has(name + f.digit) {
			s.sets = append(s.sets, &set{name: name + f.digit, kind: kindMeter, v6: f.digit == "6", generations: true,
				size: uint32(m.Sources), timeout: timeout, limit: m.Limit.String()})
		}
	}
}

func (s *spec) has(name string) bool { return s.set(name) != nil }

func (s *spec) set(name string) *set {
	for _, x := range s.sets {
		if x.name == name {
			return x
		}
	}
	return nil
}

// eachFamily calls add for each family whose set name+digit exists.
func (s *spec) eachFamily(name string, add func(family)) {
	for _, f := range families() {
		if s.has(name + f.digit) {
			add(f)
		}
	}
}

func untimed(rs []ranges.Range) []firewall.Timed {
	out := make([]firewall.Timed, len(rs))
	for i, r := range rs {
		out[i].Range = r
	}
	return out
}

func ofFamily(in []firewall.Timed, v6 bool) []firewall.Timed {
	var out []firewall.Timed
	for _, t := range in {
		if t.Range.Is4() != v6 {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b firewall.Timed) int { return a.Range.Compare(b.Range) })
	return out
}

// family of the set's keys.
func (x *set) family() family {
	if x.v6 {
		return ip6
	}
	return ip4
}

// newName is the kernel name for a generation that is not there yet. It says nothing about the content: a generation that
// somebody has changed must be replaced by one with the same content and another name.
func (x *set) newName() string {
	if !x.generations {
		return x.name
	}
	return x.name + "_" + generationSuffix()
}

// logicalName takes the generation off a kernel name.
func logicalName(kernel string) string {
	i := strings.LastIndexByte(kernel, '_')
	if i < 0 || len(kernel)-i != 9 {
		return kernel
	}
	if _, err := hex.DecodeString(kernel[i+1:]); err != nil {
		return kernel
	}
	return kernel[:i]
}

// content is a digest of the members, without their ends. A big set is known by the digest of its file.
func (x *set) content() string {
	switch {
	case x.kind == kindMeter:
		return "meter " + x.limit
	case x.kind == kindServices:
		lines := make([]string, len(x.services))
		for i, p := range x.services {
			lines[i] = p.String()
		}
		slices.Sort(lines)
		return digestLines(len(lines), func(i int) string { return lines[i] })
	case x.kind == kindPages:
		parts := []string{x.name}
		for _, l := range x.lists {
			parts = append(parts, l.Digest)
		}
		return digestOf(parts...)
	case x.kind == kindTuples || x.kind == kindNames:
		return digestTuples(x.tuples)
	case x.big != nil:
		return digestOf(x.big.Digest, x.name, fmt.Sprint(bigLen(*x.big, x.v6)))
	}
	return digestLines(len(x.small), func(i int) string { return x.small[i].Range.String() })
}

// kernel is the description of the set for the library.
func (x *set) kernel(table *nftables.Table, name string) *nftables.Set {
	k := &nftables.Set{Table: table, Name: name, KeyType: x.family().typ, KeyByteOrder: binaryutil.BigEndian}
	switch x.kind {
	case kindRanges:
		k.Interval = true
	case kindTimed:
		k.Interval, k.HasTimeout = true, true
	case kindBans:
		k.HasTimeout, k.Size = true, maxBans
	case kindMeter:
		k.Dynamic, k.Size = true, x.size
		k.HasTimeout, k.Timeout = x.timeout > 0, x.timeout
		k.Comment = x.content()
	case kindServices:
		k.KeyType, k.DataType = serviceKey, nftables.TypeVerdict
		k.IsMap, k.Interval, k.Concatenation = true, true, true
	case kindPages:
		// The kernel takes its fastest hash where the size is known and the key has four bytes.
		k.KeyType, k.Size = nftables.TypeIPAddr, 1<<pageBits
	case kindTuples:
		k.KeyType, k.Interval, k.Concatenation = x.key, true, true
	case kindNames:
		k.KeyType, k.HasTimeout, k.Size = x.key, true, maxNames
	}
	return k
}

// maxBans is how many sources can be banned at once; the oldest end first is decided above this package.
const maxBans = 1 << 20

// maxNames is how many addresses can be reached by name at once, by all segments together.
const maxNames = 1 << 16

// text is the set's declaration in nft(8) syntax, for people.
func (x *set) text() string {
	typ := x.family().typ.Name
	switch x.kind {
	case kindTimed:
		return fmt.Sprintf("type %s; flags interval,timeout; %d ranges", typ, len(x.small))
	case kindBans:
		return fmt.Sprintf("type %s; flags timeout; size %d; %d sources", typ, maxBans, len(x.small))
	case kindMeter:
		if x.timeout == 0 {
			return fmt.Sprintf("type %s; flags dynamic; size %d", typ, x.size)
		}
		return fmt.Sprintf("type %s; flags dynamic,timeout; timeout %v; size %d", typ, x.timeout, x.size)
	case kindServices:
		return fmt.Sprintf("type inet_proto . inet_service : verdict; flags interval; %d entries", len(x.services))
	case kindTuples:
		return fmt.Sprintf("type %s; flags interval; %d entries", x.key.Name, len(x.tuples))
	case kindNames:
		return fmt.Sprintf("type %s; flags timeout; size %d; %d entries", x.key.Name, maxNames, len(x.tuples))
	}
	if x.kind == kindPages {
		return fmt.Sprintf("type ipv4_addr; size %d; of %d lists", 1<<pageBits, len(x.lists))
	}
	n := len(x.small)
	if x.big != nil {
		n = bigLen(*x.big, x.v6)
	}
	return fmt.Sprintf("type %s; flags interval; %d ranges", typ, n)
}

// String is the entry in nft(8) syntax.
func (p servicePort) String() string {
	return fmt.Sprintf("%s . %s : %s", p.protocol, p.ports, verdictText(p.verdict))
}

func (p servicePort) element() nftables.SetElement {
	key := func(port uint16) []byte {
		return append([]byte{proto(p.protocol), 0, 0, 0}, append(be16(port), 0, 0)...)
	}
	return nftables.SetElement{Key: key(p.ports.First), KeyEnd: key(p.ports.Last), VerdictData: p.verdict}
}

func digestLines(n int, line func(int) string) string {
	h := sha256.New()
	for i := range n {
		h.Write([]byte(line(i)))
		h.Write([]byte{'\n'})
	}
	return hex.EncodeToString(h.Sum(nil))
}

func digestOf(parts ...string) string {
	return digestLines(len(parts), func(i int) string { return parts[i] })
}
