package nft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// application is one Apply. It has two steps, each a transaction of its own or several: prepare makes and fills set
// generations that nothing refers to yet; switchOver changes the rules to them and removes what is no longer needed.
type application struct {
	wire    *netlink.Conn
	nc      *nftables.Conn
	have    *snapshot
	want    *spec
	names   map[string]string // set name -> kernel name of the generation that rules will refer to
	created []*nftables.Set   // by prepare
	deltas  []delta           // of sets that are changed in place
}

// delta changes members of a set in place, in the transaction that switches the rules.
type delta struct {
	set         *nftables.Set
	intervals   bool
	remove, add []firewall.Timed
}

// expirySlack is how much an end in the kernel may differ from the wanted one before it is set again: reading, writing
// and the kernel's ticks take time.
const expirySlack = 2 * time.Second

func (a *application) prepare(ctx context.Context) error {
	if !a.have.exists {
		a.nc.AddTable(table())
	}
	// Verdict maps name chains, so these must exist first. Nothing jumps to an empty new chain yet.
	for _, c := range a.want.chains {
		if c.hook == nil && !a.hasChain(c.name) {
			a.nc.AddChain(&nftables.Chain{Name: c.name, Table: table()})
		}
	}
	if err := a.flush("prepare chains"); err != nil {
		return err
	}
	now := time.Now()
	for _, x := range a.want.sets {
		if err := ctx.Err(); err != nil {
			return err
		}
		if a.reuse(x, now) {
			continue
		}
		if err := a.create(x, now); err != nil {
			return err
		}
	}
	return nil
}

// reuse keeps a generation that is there, where its shape and content are right or can be made so in place.
func (a *application) reuse(x *set, now time.Time) bool {
	want := x.kernel(table(), x.name)
	shaped := func(o *observedSet) bool {
		return shape(o.flags, o.keyType, o.size, o.timeout) == shape(setFlags(want), want.KeyType.GetNFTMagic(), want.Size, want.Timeout)
	}
	cur := a.have.current(x.name)
	switch {
	case x.kind == kindBans || x.kind == kindTimed:
		if cur == nil || !shaped(cur) {
			return false
		}
		remove, add := difference(cur.members, x.small, now)
		// In an interval set what is taken away must not overlap what is added: there would be an instant with neither.
		if x.kind == kindTimed && overlap(remove, add) {
			return false
		}
		if len(remove)+len(add) > 0 {
			a.deltas = append(a.deltas, delta{set: x.kernel(table(), cur.name), intervals: x.kind == kindTimed, remove: remove, add: add})
		}
		a.names[x.name] = cur.name
		return true
	}
	content := x.content()
	for _, o := range a.have.sets {
		if o.logical == x.name && shaped(o) && o.content == content && (cur == o || !cur.inUse || cur.content != content) {
			a.names[x.name] = o.name
			return true
		}
	}
	return false
}

// create makes a new generation, fills it and looks whether the kernel holds it.
func (a *application) create(x *set, now time.Time) error {
	k := x.kernel(table(), x.newName())
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
	var entries []nftables.SetElement
	for _, p := range x.services {
		entries = append(entries, p.element())
	}
	if err := a.nc.AddSet(k, nil); err != nil {
		return fmt.Errorf("create set %s: %w", k.Name, err)
	}
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
	if x.big != nil {
		return a.load(l, x)
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
	l.buf = appendElement(l.buf, r.From.AsSlice(), false, timeout)
	if len(l.buf) < messageBytes {
		return nil
	}
	return l.seal()
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
		if x.kind != kindTimed && x.kind != kindBans && o.content != x.content() {
			return fmt.Errorf("set %s was filled, but the kernel holds something else", k.Name)
		}
		return nil
	}
	return fmt.Errorf("set %s was created, but is not there", k.Name)
}

// abandon removes the generations that prepare made, after an error.
func (a *application) abandon() error {
	for _, k := range a.created {
		a.nc.DelSet(k)
	}
	if len(a.created) == 0 {
		return nil
	}
	return a.flush("remove unfinished sets")
}

// switchOver is one transaction: from the old rules to the new ones, with the members changed in place, and without what
// nothing refers to any longer.
func (a *application) switchOver() error {
	for _, n := range a.want.counters {
		if !slices.Contains(a.have.counters, n) {
			a.nc.AddObj(&nftables.NamedObj{Table: table(), Name: n, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
		}
	}
	for _, d := range a.deltas {
		if err := a.change(d); err != nil {
			return err
		}
	}
	for _, c := range a.want.chains {
		a.rewrite(c)
	}
	a.clean()
	return a.flush("switch rules")
}

// change removes and adds members. Before Linux 6.12 only removing and adding renews an element's timeout.
func (a *application) change(d delta) error {
	now := time.Now()
	for part := range slices.Chunk(d.remove, 500) {
		if err := a.nc.SetDeleteElements(d.set, elements(part, d.intervals, time.Time{})); err != nil {
			return fmt.Errorf("change set %s: %w", d.set.Name, err)
		}
	}
	for part := range slices.Chunk(d.add, 500) {
		if err := a.nc.SetAddElements(d.set, elements(part, d.intervals, now)); err != nil {
			return fmt.Errorf("change set %s: %w", d.set.Name, err)
		}
	}
	return nil
}

// elements are the library's form of members; a zero now leaves timeouts out, as a deletion wants it.
func elements(in []firewall.Timed, intervals bool, now time.Time) []nftables.SetElement {
	var out []nftables.SetElement
	for _, t := range in {
		e := nftables.SetElement{Key: t.Range.From.AsSlice()}
		if !now.IsZero() {
			timeout, ok := remaining(t, now)
			if !ok {
				continue
			}
			e.Timeout = timeout
		}
		out = append(out, e)
		if end, ok := successor(t.Range.To.AsSlice()); intervals && ok {
			out = append(out, nftables.SetElement{Key: slices.Clone(end[:len(e.Key)]), IntervalEnd: true})
		}
	}
	return out
}

// rewrite replaces a chain's rules where they differ or refer to another generation.
func (a *application) rewrite(c *chain) {
	k := &nftables.Chain{Name: c.name, Table: table()}
	if c.hook != nil {
		policy := nftables.ChainPolicyAccept // so that a chain emptied by somebody does not lock the owner out
		k.Type, k.Policy = nftables.ChainTypeFilter, &policy
		k.Hooknum, k.Priority = nftables.ChainHookRef(nftables.ChainHook(c.hook.number)), nftables.ChainPriorityRef(nftables.ChainPriority(c.hook.priority))
	}
	if !a.sameHook(c) {
		if a.hasChain(c.name) {
			a.nc.FlushChain(&nftables.Chain{Name: c.name, Table: table()})
			a.nc.DelChain(&nftables.Chain{Name: c.name, Table: table()})
		}
		a.nc.AddChain(k)
	} else if a.same(c) {
		return
	} else {
		a.nc.FlushChain(k)
	}
	for _, r := range c.rules {
		a.nc.AddRule(&nftables.Rule{Table: table(), Chain: k, Exprs: a.bind(r.exprs),
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.id)})
	}
}

func (a *application) sameHook(c *chain) bool {
	for _, h := range a.have.chains {
		if h.Name != c.name {
			continue
		}
		if c.hook == nil {
			return h.Hooknum == nil
		}
		return h.Hooknum != nil && uint32(*h.Hooknum) == c.hook.number && int32(*h.Priority) == c.hook.priority &&
			h.Policy != nil && *h.Policy == nftables.ChainPolicyAccept
	}
	return c.hook == nil // made by prepare
}

// same reports whether the kernel's rules are these, and refer to these generations.
func (a *application) same(c *chain) bool {
	have := a.have.rules[c.name]
	if len(have) != len(c.rules) {
		return false
	}
	for i, r := range c.rules {
		id, _ := userdata.GetString(have[i].UserData, userdata.TypeComment)
		if id != r.id || canonical(have[i].Exprs) != canonical(r.exprs) || !slices.Equal(setsOf(have[i].Exprs), setsOf(a.bind(r.exprs))) {
			return false
		}
	}
	return true
}

// bind names the generations in expressions.
func (a *application) bind(exprs []expr.Any) []expr.Any {
	out := slices.Clone(exprs)
	for i, e := range out {
		switch x := e.(type) {
		case *expr.Lookup:
			y := *x
			y.SetName = a.names[x.SetName]
			out[i] = &y
		case *expr.Dynset:
			y := *x
			y.SetName = a.names[x.SetName]
			out[i] = &y
		}
	}
	return out
}

// clean removes chains, sets and counters that the new rules do not need. Sets go first: a map's verdicts hold chains.
func (a *application) clean() {
	keep := map[string]bool{}
	for _, n := range a.names {
		keep[n] = true
	}
	wanted := map[string]bool{}
	for _, c := range a.want.chains {
		wanted[c.name] = true
	}
	for _, c := range a.have.chains {
		if !wanted[c.Name] {
			a.nc.FlushChain(&nftables.Chain{Name: c.Name, Table: table()})
		}
	}
	for _, o := range a.have.sets {
		if !keep[o.name] {
			a.nc.DelSet(&nftables.Set{Table: table(), Name: o.name})
		}
	}
	for _, c := range a.have.chains {
		if !wanted[c.Name] {
			a.nc.DelChain(&nftables.Chain{Name: c.Name, Table: table()})
		}
	}
	for _, n := range a.have.counters {
		if !slices.Contains(a.want.counters, n) {
			a.nc.DeleteObject(&nftables.NamedObj{Table: table(), Name: n, Type: nftables.ObjTypeCounter})
		}
	}
}

func (a *application) hasChain(name string) bool {
	return slices.ContainsFunc(a.have.chains, func(c *nftables.Chain) bool { return c.Name == name })
}

func (a *application) flush(what string) error {
	if err := a.nc.Flush(); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%s: somebody changed table inet %s meanwhile: %w", what, tableName, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// difference is what to take from have and to add to it to get want. A member whose end is off by more than the slack is
// in both.
func difference(have, want []firewall.Timed, now time.Time) (remove, add []firewall.Timed) {
	old := make(map[ranges.Range]time.Time, len(have))
	for _, t := range have {
		old[t.Range] = t.Until
	}
	for _, t := range want {
		if _, ok := remaining(t, now); !ok {
			continue
		}
		until, there := old[t.Range]
		delete(old, t.Range)
		switch {
		case !there:
			add = append(add, t)
		case until.IsZero() != t.Until.IsZero() || until.Sub(t.Until).Abs() > expirySlack:
			remove, add = append(remove, t), append(add, t)
		}
	}
	for _, t := range have {
		if _, gone := old[t.Range]; gone {
			remove = append(remove, t)
		}
	}
	return remove, add
}

func overlap(a, b []firewall.Timed) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	byRange := func(x, y firewall.Timed) int { return x.Range.Compare(y.Range) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, byRange)
	slices.SortFunc(b, byRange)
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].Range.Overlaps(b[j].Range):
			return true
		case a[i].Range.Compare(b[j].Range) < 0:
			i++
		default:
			j++
		}
	}
	return false
}
