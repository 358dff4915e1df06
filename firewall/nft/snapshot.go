package nft

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// snapshot is what the kernel holds of our table.
type snapshot struct {
	exists   bool
	chains   []*nftables.Chain
	rules    map[string][]*nftables.Rule // by chain
	sets     []*observedSet
	counters []string
	// generation is the number of the ruleset that was read.
	generation uint32
}

// without is s without the members that have ended by now.
func (s *snapshot) without(now time.Time) *snapshot {
	out := *s
	out.sets = nil
	for _, o := range s.sets {
		if slices.ContainsFunc(o.members, func(t firewall.Timed) bool { return !t.Until.IsZero() && !t.Until.After(now) }) {
			y := *o
			y.members = slices.DeleteFunc(slices.Clone(o.members), func(t firewall.Timed) bool { return !t.Until.IsZero() && !t.Until.After(now) })
			y.content = digestLines(len(y.members), func(i int) string { return y.members[i].Range.String() })
			o = &y
		}
		if ended := func(t tuple) bool { return !t.until.IsZero() && !t.until.After(now) }; slices.ContainsFunc(o.tuples, ended) {
			y := *o
			y.tuples = slices.DeleteFunc(slices.Clone(o.tuples), ended)
			y.content = digestTuples(y.tuples)
			o = &y
		}
		out.sets = append(out.sets, o)
	}
	return &out
}

// observedSet is one generation of a set.
type observedSet struct {
	kernelSet
	logical string
	inUse   bool // a rule refers to it
	staged  bool // made by Stage; it is not there for those who only look
	members []firewall.Timed
	tuples  []tuple // instead, where the key has several fields
	// content is as set.content: of the members read, or of what the set's comment says for a set too big to be read.
	content string
}

// observe reads the table, with what is staged marked as such. Members of big sets are not read.
func observe(c *netlink.Conn, nc *nftables.Conn, stagedNames func() map[string]bool) (*snapshot, error) {
	s := &snapshot{rules: map[string][]*nftables.Rule{}}
	tables, err := nc.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return s, nil
	}
	s.exists = true
	chains, err := nc.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	used := map[string]bool{}
	for _, ch := range chains {
		if ch.Table.Name != tableName {
			continue
		}
		s.chains = append(s.chains, ch)
		rules, err := nc.GetRules(table(), ch)
		if err != nil {
			return nil, fmt.Errorf("list rules of chain %s: %w", ch.Name, err)
		}
		s.rules[ch.Name] = rules
		for _, r := range rules {
			for _, name := range setsOf(r.Exprs) {
				used[name] = true
			}
		}
	}
	sets, err := listSets(c)
	if err != nil {
		return nil, err
	}
	staged := stagedNames() // after the list: a set is staged before it is created, and until it is gone
	for _, k := range sets {
		o := &observedSet{kernelSet: k, logical: logicalName(k.name), inUse: used[k.name], staged: staged[k.name]}
		if err := o.read(nc); err != nil {
			return nil, err
		}
		s.sets = append(s.sets, o)
	}
	objs, err := nc.GetNamedObjects(table())
	if err != nil {
		return nil, fmt.Errorf("list counters: %w", err)
	}
	for _, o := range objs {
		if n, ok := o.(*nftables.NamedObj); ok && n.Type == nftables.ObjTypeCounter {
			s.counters = append(s.counters, n.Name)
		}
	}
	return s, nil
}

// current is the generation of a set that rules refer to, else any.
func (s *snapshot) current(logical string) *observedSet {
	var found *observedSet
	for _, o := range s.sets {
		if o.logical == logical && (found == nil || o.inUse) && (o.inUse || !o.staged) {
			found = o
		}
	}
	return found
}

// bigComment is what a set too big to be read says of itself.
func bigComment(content string, n int) string { return fmt.Sprintf("big %s %d", content, n) }

// read fills members and content.
func (o *observedSet) read(nc *nftables.Conn) error {
	comment, _ := userdata.GetString(o.userdata, userdata.NFTNL_UDATA_SET_COMMENT)
	if o.flags&unix.NFT_SET_EVAL != 0 { // filled by packets; the comment says for which limit
		o.content = comment
		return nil
	}
	var digest string
	var n int
	if _, err := fmt.Sscanf(comment, "big %s %d", &digest, &n); err == nil {
		o.content = digest
		if o.count >= 0 && o.count != n {
			o.content = fmt.Sprintf("%s with %d instead of %d elements", digest, o.count, n)
		}
		return nil
	}
	k := &nftables.Set{Table: table(), Name: o.name, KeyType: serviceKey, DataType: nftables.TypeVerdict}
	elements, err := nc.GetSetElements(k)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("read set %s: %w", o.name, err)
	}
	if o.flags&unix.NFT_SET_MAP != 0 {
		var lines []string
		for _, e := range elements {
			lines = append(lines, decodeService(e))
		}
		slices.Sort(lines)
		o.content = digestLines(len(lines), func(i int) string { return lines[i] })
		return nil
	}
	if compound(o.keyType) {
		o.tuples = decodeTuples(elements, time.Now())
		o.content = digestTuples(o.tuples)
		return nil
	}
	o.members = decodeMembers(elements, o.flags&unix.NFT_SET_INTERVAL != 0, time.Now())
	o.content = digestLines(len(o.members), func(i int) string { return o.members[i].Range.String() })
	return nil
}

// decodeMembers puts range ends back to their starts.
func decodeMembers(elements []nftables.SetElement, intervals bool, now time.Time) []firewall.Timed {
	until := func(e nftables.SetElement) time.Time {
		if e.Timeout == 0 && e.Expires == 0 {
			return time.Time{}
		}
		return now.Add(e.Expires)
	}
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		// Where one range ends and the next begins at the same key, the end comes first.
		return cmp.Or(bytes.Compare(a.Key, b.Key), -cmp.Compare(boolInt(a.IntervalEnd), boolInt(b.IntervalEnd)))
	})
	var out []firewall.Timed
	for i, e := range elements {
		from, ok := netip.AddrFromSlice(e.Key)
		if !ok || e.IntervalEnd {
			continue
		}
		r := ranges.Single(from)
		if intervals {
			r.To = lastAddr(from)
			if i+1 < len(elements) {
				if next, ok := netip.AddrFromSlice(elements[i+1].Key); ok && elements[i+1].IntervalEnd {
					r.To = next.Prev()
				}
			}
		} else if from.Is6() {
			r = ranges.Of(netip.PrefixFrom(from, 64))
		}
		out = append(out, firewall.Timed{Range: r, Until: until(e)})
	}
	return out
}

func lastAddr(a netip.Addr) netip.Addr {
	b := bytes.Repeat([]byte{255}, a.BitLen()/8)
	last, _ := netip.AddrFromSlice(b)
	return last
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// decodeService writes an entry of the services map as servicePort.String does.
func decodeService(e nftables.SetElement) string {
	if len(e.Key) != 8 {
		return "unknown " + hex.EncodeToString(e.Key)
	}
	last := e.Key
	if len(e.KeyEnd) == 8 {
		last = e.KeyEnd
	}
	p := firewall.TCP
	if e.Key[0] == unix.IPPROTO_UDP {
		p = firewall.UDP
	}
	r := firewall.PortRange{First: uint16(e.Key[4])<<8 | uint16(e.Key[5]), Last: uint16(last[4])<<8 | uint16(last[5])}
	v := decodeVerdict(e.Val)
	v.Chain = logicalName(v.Chain)
	return servicePort{p, r, v}.String()
}

func decodeVerdict(b []byte) *expr.Verdict {
	v := &expr.Verdict{Kind: expr.VerdictDrop}
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return v
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			if d := ad.Bytes(); len(d) == 4 {
				v.Kind = expr.VerdictKind(int32(uint32(d[0])<<24 | uint32(d[1])<<16 | uint32(d[2])<<8 | uint32(d[3])))
			}
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = ad.String()
		}
	}
	return v
}

// setsOf names the sets that expressions refer to.
func setsOf(exprs []expr.Any) []string {
	var out []string
	for _, e := range exprs {
		switch x := e.(type) {
		case *expr.Lookup:
			out = append(out, x.SetName)
		case *expr.Dynset:
			out = append(out, x.SetName)
		}
	}
	return out
}

// canonical is a digest of what a rule does, the same whether the rule is ours or was read back: sets and chains are
// without their generation, and what only the kernel or only the library fills in is left out.
func canonical(exprs []expr.Any) string {
	var parts []string
	for _, e := range exprs {
		switch x := e.(type) {
		case *expr.Lookup:
			y := *x
			y.SetID, y.SetName = 0, logicalName(x.SetName)
			e = &y
		case *expr.Dynset:
			y := *x
			y.SetID, y.SetName, y.Timeout = 0, logicalName(x.SetName), 0
			e = &y
		case *expr.Verdict:
			y := *x
			y.Chain = logicalName(x.Chain)
			e = &y
		case *expr.Objref:
			y := *x
			y.Name = strings.TrimRight(x.Name, "\x00")
			e = &y
		case *expr.Counter:
			e = &expr.Counter{} // what it counted is not what the rule does
		case *expr.Log:
			y := *x
			y.Flags, y.Level, y.QThreshold = 0, 0, 0
			y.Key &= 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN
			e = &y
		}
		b, err := expr.Marshal(byte(nftables.TableFamilyINet), e)
		if err != nil {
			b = []byte(err.Error())
		}
		parts = append(parts, fmt.Sprintf("%T %x", e, b))
	}
	return digestOf(parts...)
}
