package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// total is the size of the big lists.
const total = 500_000

// spread are prefix lengths with their share in a thousand, like that of the union of public block lists: mostly single
// addresses, many /24, a few large networks.
var spread = []struct{ bits, share int }{
	{32, 560}, {31, 20}, {30, 20}, {29, 20}, {28, 20}, {27, 15}, {26, 15}, {25, 15}, {24, 260}, {23, 18}, {22, 17}, {21, 8}, {20, 6}, {19, 3}, {18, 2}, {17, 1},
}

// reserved first octets hold addresses that a feed must not name.
var reserved = map[uint32]bool{10: true, 100: true, 127: true, 169: true, 172: true, 192: true, 198: true, 203: true}

// generate makes n disjoint prefixes that do not touch each other, in order, from a seed: each is one range for nftables
// and one member for ipset.
func generate(seed uint64, n int) []netip.Prefix {
	r := rand.New(rand.NewPCG(seed, 1))
	gap := uint32(2_500_000_000 / n)
	out := make([]netip.Prefix, 0, n)
	for at := uint32(1 << 24); len(out) < n; {
		share, i := r.IntN(1000), 0
		for share >= spread[i].share {
			share -= spread[i].share
			i++
		}
		size := uint32(1) << (32 - spread[i].bits)
		at = (at + size - 1) / size * size
		if reserved[at>>24] {
			at = (at>>24 + 1) << 24
			continue
		}
		out = append(out, netip.PrefixFrom(addr4(at), spread[i].bits))
		at += size + 3 + r.Uint32N(gap*2)
	}
	return out
}

func addr4(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

func number4(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

// changed replaces each hundredth prefix by a single address in the gap behind it.
func changed(in []netip.Prefix) []netip.Prefix {
	out := append([]netip.Prefix(nil), in...)
	for i := 50; i < len(out); i += 100 {
		p := out[i]
		end := number4(p.Addr()) + 1<<(32-p.Bits()) - 1
		out[i] = netip.PrefixFrom(addr4(end+2), 32)
	}
	return out
}

// inputs are the lists; each exists as a file of ranges, a netset for feeds, a script for nft and one for ipset.
const (
	listA  = "a"       // 500,000
	listB  = "b"       // 500,000 others
	listA1 = "a1"      // a with 1 % changed
	preset = "presets" // 28,000: about what the preset feeds hold together
	smallA = "smalla"  // 50,000, with the leaking source in it
	smallB = "smallb"  // 50,000 others, with the same source
	small  = 50_000    //
	leaker = "198.18.0.7"
)

func writeInputs(dir string) error {
	a := generate(1, total)
	lists := map[string][]netip.Prefix{listA: a, listB: generate(2, total), listA1: changed(a), preset: generate(3, 28_000)}
	for i, name := range []string{smallA, smallB} {
		lists[name] = append(generate(uint64(4+i), small), netip.MustParsePrefix(leaker+"/32"))
	}
	for name, l := range lists {
		var rs []ranges.Range
		for _, p := range l {
			rs = append(rs, ranges.Of(p))
		}
		info, err := ranges.Write(dir, ranges.FromSlice(ranges.Normalize(rs)))
		if err != nil {
			return err
		}
		if info.V4 != len(l) {
			return fmt.Errorf("list %s: %d ranges, want %d", name, info.V4, len(l))
		}
		if err := os.Symlink(filepath.Base(info.Path), filepath.Join(dir, name)); err != nil {
			return err
		}
		if err := writeText(dir, name, l); err != nil {
			return err
		}
	}
	return nil
}

func writeText(dir, name string, l []netip.Prefix) error {
	nft := func(before string) func(w io.Writer) {
		return func(w io.Writer) {
			fmt.Fprint(w, before+"add element inet peer s { ")
			for _, p := range l {
				r := ranges.Of(p)
				if p.IsSingleIP() {
					fmt.Fprintf(w, "%v, ", r.From)
					continue
				}
				fmt.Fprintf(w, "%v-%v, ", r.From, r.To)
			}
			fmt.Fprint(w, "}\n")
		}
	}
	files := map[string]func(w io.Writer){
		"nft":         nft("add table inet peer\nadd set inet peer s { type ipv4_addr; flags interval; }\n"),
		"replace.nft": nft("flush set inet peer s\n"),
		"netset": func(w io.Writer) {
			for _, p := range l {
				fmt.Fprintln(w, p)
			}
		},
		"ipset": func(w io.Writer) {
			fmt.Fprintf(w, "create n hash:net hashsize 262144 maxelem 1000000\n")
			for _, p := range l {
				fmt.Fprintf(w, "add n %v\n", p)
			}
			fmt.Fprint(w, "create s hash:net hashsize 262144 maxelem 1000000 -exist\nswap n s\ndestroy n\n")
		},
	}
	for ext, write := range files {
		f, err := os.Create(filepath.Join(dir, name+"."+ext))
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		write(w)
		if err := w.Flush(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// set is the list of that name for a ruleset.
func (b *bench) set(name string) (firewall.BigSet, error) {
	target, err := os.Readlink(filepath.Join(b.dir, name))
	if err != nil {
		return firewall.BigSet{}, err
	}
	f, err := ranges.Open(filepath.Join(b.dir, target))
	if err != nil {
		return firewall.BigSet{}, err
	}
	defer f.Close()
	i := f.Info()
	return firewall.BigSet{Path: i.Path, Digest: i.Digest, V4: i.V4, V6: i.V6}, nil
}

func (b *bench) file(name string) string { return filepath.Join(b.dir, name) }

// geoFiles are the country data of Debian's package tor-geoipdb.
const geoFile = "/usr/share/tor/geoip"

// tenCountries are those that operators name most often in questions about blocking countries.
var tenCountries = []string{"CN", "RU", "KP", "IR", "IN", "BR", "VN", "ID", "TR", "UA"}

// countries writes the union of some countries' IPv4 ranges as a file of ranges.
func (b *bench) countries(names []string) (firewall.BigSet, error) {
	f, err := os.Open(geoFile)
	if err != nil {
		return firewall.BigSet{}, err
	}
	defer f.Close()
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	var rs []ranges.Range
	for in := bufio.NewScanner(f); in.Scan(); {
		p := strings.Split(in.Text(), ",")
		if len(p) != 3 || !want[p[2]] {
			continue
		}
		from, err1 := strconv.ParseUint(p[0], 10, 32)
		to, err2 := strconv.ParseUint(p[1], 10, 32)
		if err1 == nil && err2 == nil {
			rs = append(rs, ranges.Range{From: addr4(uint32(from)), To: addr4(uint32(to))})
		}
	}
	info, err := ranges.Write(b.dir, ranges.FromSlice(ranges.Normalize(rs)))
	return firewall.BigSet{Path: info.Path, Digest: info.Digest, V4: info.V4, V6: info.V6}, err
}
