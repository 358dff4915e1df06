package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"

	"github.com/platformd/platformd/firewall/ranges"
)

// bulk is how many ranges are worth not listening to the kernel while they are loaded.
const bulk = 10_000

// create makes a new generation, fills it and looks whether the kernel holds it.
func (a *application) create(x *set, now time.Time) error {
	k := x.kernel(table(), x.newName())
	var listed *pages
	if x.kind == kindPages {
		p, err := pagesOf(x)
		if err != nil {
			return err
		}
		listed, k.Comment = p, bigComment(x.content(), p.count())
	}
	if x.big != nil {
		n, err := kernelCount(x)
		if err != nil {
			return err
		}
		k.Comment = bigComment(x.content(), n)
	}
	if !x.generations && a.have.current(x.name) != nil {
		return fmt.Errorf("set %s has another shape than ours: remove the table inet %s", x.name, tableName)
	}
	if a.made != nil {
		a.made(k.Name)
	}
	var entries []nftables.SetElement
	for _, p := range x.services {
		p.verdict = a.bindVerdict(p.verdict)
		entries = append(entries, p.element())
	}
	if err := a.nc.AddSet(k, nil); err != nil {
		return fmt.Errorf("create set %s: %w", k.Name, err)
	}
	entries = append(entries, tupleElements(x.tuples, now)...)
	for part := range slices.Chunk(entries, 256) {
		if err := a.nc.SetAddElements(k, part); err != nil {
			return fmt.Errorf("fill set %s: %w", k.Name, err)
		}
	}
	if err := a.flush("create set " + k.Name); err != nil {
		return err
	}
	a.created = append(a.created, k)
	a.names[x.name] = k.Name
	l := &loader{conn: a.wire, set: k.Name}
	if listed != nil {
		return a.loadPages(l, listed)
	}
	if x.big != nil {
		if a.watch == nil || bigLen(*x.big, x.v6) < bulk {
			return a.load(l, x)
		}
		return a.watch.deaf(func() error { return a.load(l, x) })
	}
	intervals := x.kind != kindBans
	for _, t := range x.small {
		timeout, ok := remaining(t, now)
		if !ok {
			continue
		}
		if err := l.addMember(t.Range, intervals, timeout); err != nil {
			return err
		}
	}
	if err := l.flush(); err != nil {
		return err
	}
	return a.verifySmall(x, k)
}

// addMember adds a range to an interval set, or its first address to a set of single keys.
func (l *loader) addMember(r ranges.Range, intervals bool, timeout time.Duration) error {
	if intervals {
		return l.add(r.From.AsSlice(), r.To.AsSlice(), timeout)
	}
	return l.addKey(r.From.AsSlice(), timeout)
}

// kernelCount is how many elements the kernel will say that the set has: half of its keys. A range has two keys, its start
// and its end, except that the last address of a family has no end.
func kernelCount(x *set) (int, error) {
	n := bigLen(*x.big, x.v6)
	if n == 0 {
		return 0, nil
	}
	f, err := ranges.Open(x.big.Path)
	if err != nil {
		return 0, fmt.Errorf("load set %s: %w", x.name, err)
	}
	defer f.Close()
	last, err := f.At(x.v6, n-1)
	if _, ok := successor(last.To.AsSlice()); !ok {
		n--
	}
	return n, err
}

// load streams a file of ranges into the new set and probes some of them.
func (a *application) load(l *loader, x *set) error {
	if bigLen(*x.big, x.v6) == 0 {
		return nil
	}
	f, err := ranges.Open(x.big.Path)
	if err != nil {
		return fmt.Errorf("load set %s: %w", x.name, err)
	}
	defer f.Close()
	if f.Info().Digest != x.big.Digest {
		return fmt.Errorf("load set %s: file %s has another content than its name says", x.name, x.big.Path)
	}
	size := int(x.family().len)
	err = f.Raw(x.v6, func(recs []byte) error {
		for ; len(recs) >= 2*size; recs = recs[2*size:] {
			if err := l.add(recs[:size], recs[size:2*size], 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.flush(); err != nil {
		return err
	}
	n := bigLen(*x.big, x.v6)
	for _, i := range []int{0, n / 2, n - 1} {
		if i < 0 || n == 0 {
			continue
		}
		r, err := f.At(x.v6, i)
		if err != nil {
			return err
		}
		for _, p := range []netip.Addr{r.From, r.To} {
			if err := a.mustContain(l.set, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *application) loadPages(l *loader, p *pages) error {
	load := func() error { return l.addAll(p) }
	if a.watch != nil && p.count() >= bulk {
		bare := load
		load = func() error { return a.watch.deaf(bare) }
	}
	if err := load(); err != nil {
		return err
	}
	first, last, ok := p.ends()
	if !ok {
		return nil
	}
	for _, n := range []uint32{first, last} {
		if err := a.mustContain(l.set, netip.AddrFrom4([4]byte(pageKey(n)))); err != nil {
			return err
		}
	}
	return nil
}

func (a *application) mustContain(set string, p netip.Addr) error {
	found, err := contains(a.wire, set, p)
	if err == nil && !found {
		err = fmt.Errorf("set %s was loaded, but %v is not in it", set, p)
	}
	return err
}

func (a *application) verifySmall(x *set, k *nftables.Set) error {
	sets, err := listSets(a.wire)
	if err != nil {
		return err
	}
	for _, s := range sets {
		if s.name != k.Name {
			continue
		}
		o := &observedSet{kernelSet: s, logical: x.name}
		if err := o.read(a.nc); err != nil {
			return err
		}
		if x.kind != kindTimed && x.kind != kindBans && x.kind != kindNames && o.content != x.content() {
			return fmt.Errorf("set %s was filled, but the kernel holds something else", k.Name)
		}
		return nil
	}
	return fmt.Errorf("set %s was created, but is not there", k.Name)
}
