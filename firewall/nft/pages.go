package nft

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/google/nftables/expr"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// Pages spare most new flows the lookups in big sets. A page is what 18 bits of an address have in common: the first 18 of an
// IPv4 address, the 18 after the first byte of an IPv6 address, because that byte is the same for all of the internet. A
// hash has the pages in which any of the lists has anything; a source in another page is on no list. A lookup in it costs a
// tenth of one in an interval set of 30,000 ranges, because that one walks through memory.

const (
	pageBits = 18
	pageMask = 1<<32 - 1<<(32-pageBits)
	// mostListed is how many ranges lists can have together for pages to be worth it: more of them leave few pages free.
	mostListed = 120_000
)

// addPages adds the set of pages of each family that has lists, where all of them refuse what is in them.
func (s *spec) addPages(rs *firewall.Ruleset) {
	lists := []*firewall.BigSet{&rs.Feeds}
	for i := range rs.Geo {
		if rs.Geo[i].Refuse == "notin" {
			return
		}
		lists = append(lists, &rs.Geo[i].Set)
	}
	for _, f := range families() {
		x := &set{name: "pages" + f.digit, kind: kindPages, v6: f.digit == "6", generations: true}
		n := 0
		for _, l := range lists {
			if k := bigLen(*l, x.v6); k > 0 {
				x.lists = append(x.lists, l)
				n += k
			}
		}
		if n > 0 && n <= mostListed {
			s.sets = append(s.sets, x)
		}
	}
}

// outsidePages matches where the page of an address is not in the set: source or destination, by its offset.
func outsidePages(f family, offset uint32) stmt {
	word := map[uint32]string{f.src: "saddr", f.dst: "daddr"}[offset]
	if f.digit == "6" {
		offset++
	}
	mask := binary.BigEndian.AppendUint32(nil, pageMask)
	return stmt{
		fmt.Sprintf("%s %s: @nh,%d,32 & 0x%x != @pages%s", f.word, word, 8*offset, uint32(pageMask), f.digit),
		append(f.only(), &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
			&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: mask, Xor: make([]byte, 4)},
			&expr.Lookup{SourceRegister: reg, SetName: "pages" + f.digit, Invert: true}),
	}
}

// pages are some of all pages.
type pages [1 << pageBits / 64]uint64

func (p *pages) count() (n int) {
	for _, w := range p {
		n += bits.OnesCount64(w)
	}
	return n
}

// add adds the pages from first to last, which are numbered through all addresses and so may go around.
func (p *pages) add(first, last uint64) {
	if last-first >= 1<<pageBits {
		last = first + 1<<pageBits - 1
	}
	for i := first; i <= last; i++ {
		k := i % (1 << pageBits)
		p[k/64] |= 1 << (k % 64)
	}
}

// pageOf numbers the page of an address; pages that count as one are a multiple of all pages apart.
func pageOf(a []byte) uint64 {
	if len(a) == 4 {
		return uint64(binary.BigEndian.Uint32(a)) >> (32 - pageBits)
	}
	return binary.BigEndian.Uint64(a) >> (64 - 8 - pageBits)
}

// pagesOf reads the pages of lists.
func pagesOf(x *set) (*pages, error) {
	p := &pages{}
	size := int(x.family().len)
	for _, l := range x.lists {
		f, err := ranges.Open(l.Path)
		if err != nil {
			return nil, fmt.Errorf("load set %s: %w", x.name, err)
		}
		err = f.Raw(x.v6, func(recs []byte) error {
			for ; len(recs) >= 2*size; recs = recs[2*size:] {
				p.add(pageOf(recs[:size]), pageOf(recs[size:2*size]))
			}
			return nil
		})
		if f.Close(); err != nil {
			return nil, fmt.Errorf("load set %s: %w", x.name, err)
		}
	}
	return p, nil
}

// pageKey is the key of a page in the kernel.
func pageKey(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n<<(32-pageBits)) }

// ends are the first and the last page.
func (p *pages) ends() (first, last uint32, ok bool) {
	for i, w := range p {
		if w == 0 {
			continue
		}
		if !ok {
			first, ok = uint32(64*i+bits.TrailingZeros64(w)), true
		}
		last = uint32(64*i + 63 - bits.LeadingZeros64(w))
	}
	return first, last, ok
}

// addAll fills a set of pages.
func (l *loader) addAll(p *pages) error {
	for i, w := range p {
		for ; w != 0; w &= w - 1 {
			n := uint32(64*i + bits.TrailingZeros64(w))
			if err := l.addKey(pageKey(n), 0); err != nil {
				return err
			}
		}
	}
	return l.flush()
}
