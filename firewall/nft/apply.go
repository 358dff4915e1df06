package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// application is one Apply, in three steps. prepare makes and fills set generations that nothing refers to yet. switchOver
// is one transaction that adds members to sets and, where rules change, a new generation of chains beside the old one.
// cleanUp takes away what is no longer wanted, when no packet is left that began before the second step.
type application struct {
	wire       *netlink.Conn
	nc         *nftables.Conn
	have       *snapshot
	want       *spec
	generation string            // of the chains that will be in force
	fresh      bool              // it is not there yet
	names      map[string]string // set name -> kernel name of the generation that rules will refer to
	created    []*nftables.Set   // by prepare
	watch      *listener         // to be deaf during a bulk load
	made       func(name string) // is told of a set before it is created, where that is not nil
	deltas     []delta           // of sets that are changed in place
}

func (a *application) prepare(ctx context.Context) error {
	if !a.have.exists {
		a.nc.AddTable(table())
		if err := a.flush("create table"); err != nil {
			return err
		}
	}
	now := time.Now()
	for _, x := range a.want.sets {
		if err := ctx.Err(); err != nil {
			return err
		}
		if x.kind == kindServices || a.reuse(x, now) {
			continue
		}
		if err := a.create(x, now); err != nil {
			return err
		}
	}
	var ok bool
	if a.generation, ok = a.find(); ok {
		return nil
	}
	a.generation, a.fresh = generationSuffix(), true
	a.addRegular() // before the map whose verdicts name them
	if err := a.flush("prepare chains"); err != nil {
		return err
	}
	return a.create(a.want.set("services"), now)
}

// reuse keeps a generation that is there, where its shape and content are right or can be made so in place.
func (a *application) reuse(x *set, now time.Time) bool {
	want := x.kernel(table(), x.name)
	shaped := func(o *observedSet) bool {
		return shape(o.flags, o.keyType, o.size, o.timeout) == shape(setFlags(want), want.KeyType.GetNFTMagic(), want.Size, want.Timeout)
	}
	cur := a.have.current(x.name)
	switch {
	case x.kind == kindNames:
		if cur == nil || !shaped(cur) {
			return false
		}
		d := delta{set: x.kernel(table(), cur.name)}
		d.tuples.remove, d.tuples.renew, d.tuples.add = tupleDifference(cur.tuples, x.tuples, now)
		if !d.empty() {
			a.deltas = append(a.deltas, d)
		}
		a.names[x.name] = cur.name
		return true
	case x.kind == kindBans || x.kind == kindTimed:
		if cur == nil || !shaped(cur) {
			return false
		}
		remove, renew, add := difference(cur.members, x.small, now)
		// An interval set cannot hold what is added beside what it overlaps, and renewing in place leaves an instant without.
		if x.kind == kindTimed && (len(renew) > 0 || overlap(remove, add)) {
			return false
		}
		if len(remove)+len(renew)+len(add) > 0 {
			a.deltas = append(a.deltas, delta{set: x.kernel(table(), cur.name), intervals: x.kind == kindTimed, remove: remove, add: add, renew: renew})
		}
		a.names[x.name] = cur.name
		return true
	}
	fits := func(o *observedSet) bool { return shaped(o) && o.content == x.content() }
	if cur == nil || !fits(cur) {
		i := slices.IndexFunc(a.have.sets, func(o *observedSet) bool { return o.logical == x.name && fits(o) })
		if i < 0 {
			return false
		}
		cur = a.have.sets[i]
	}
	a.names[x.name] = cur.name
	return true
}

// abandon removes what prepare made, after an error.
func (a *application) abandon() error {
	for _, k := range a.created {
		a.nc.DelSet(k)
	}
	if a.fresh {
		for _, c := range a.want.chains {
			if c.hook == nil {
				a.nc.DelChain(&nftables.Chain{Name: kernelChain(c.name, a.generation), Table: table()})
			}
		}
	}
	if len(a.created) == 0 && !a.fresh {
		return nil
	}
	return a.flush("remove what was not finished")
}

// switchOver is one transaction: what is added to sets, and the new generation of chains.
func (a *application) switchOver() error {
	for _, n := range a.want.counters {
		if !slices.Contains(a.have.counters, n) {
			a.nc.AddObj(&nftables.NamedObj{Table: table(), Name: n, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
		}
	}
	now := time.Now()
	for _, d := range a.deltas {
		// Before Linux 6.12 only removing and adding renews an element's timeout.
		if err := a.remove(d.set, d.renewed()); err != nil {
			return err
		}
		for part := range slices.Chunk(d.added(now), 500) {
			if err := a.nc.SetAddElements(d.set, part); err != nil {
				return fmt.Errorf("change set %s: %w", d.set.Name, err)
			}
		}
	}
	if a.fresh {
		if err := a.addRules(); err != nil {
			return err
		}
	}
	return a.flush("switch rules")
}

func (a *application) remove(set *nftables.Set, members []nftables.SetElement) error {
	for part := range slices.Chunk(members, 500) {
		if err := a.nc.SetDeleteElements(set, part); err != nil {
			return fmt.Errorf("change set %s: %w", set.Name, err)
		}
	}
	return nil
}

// cleanUp removes members, chains, sets and counters that are no longer wanted.
func (a *application) cleanUp() error {
	removes := false
	for _, d := range a.deltas {
		gone := d.removed()
		removes = removes || len(gone) > 0
		if err := a.remove(d.set, gone); err != nil {
			return err
		}
	}
	removes = a.clean() || removes
	if !removes {
		return nil
	}
	if a.fresh && len(a.have.chains) > 0 || a.adds() {
		awaitPackets()
	}
	return a.flush("remove what is no longer wanted")
}

// adds reports whether switchOver has added members.
func (a *application) adds() bool {
	return slices.ContainsFunc(a.deltas, func(d delta) bool { return len(d.add)+len(d.renew)+len(d.tuples.add)+len(d.tuples.renew) > 0 })
}

// awaitPackets returns when every packet has left the kernel's receive path that was in it before: one that has passed the
// old rules of an early hook must not meet the new rules of a later one alone. The path is a read-side critical section,
// and the global barrier waits for all of those (membarrier(2)). Without that call a pause has to do.
func awaitPackets() {
	const cmdGlobal = 1
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, cmdGlobal, 0, 0); errno != 0 {
		time.Sleep(20 * time.Millisecond)
	}
}

// clean queues the removal of chains, sets and counters, and reports whether there is any. Sets go before chains: a map's
// verdicts hold chains.
func (a *application) clean() (any bool) {
	keep := map[string]bool{}
	for _, n := range a.names {
		keep[n] = true
	}
	old := func(c *nftables.Chain) bool { return generationOf(c.Name) != a.generation }
	for _, c := range a.have.chains {
		if old(c) {
			a.nc.FlushChain(&nftables.Chain{Name: c.Name, Table: table()})
			any = true
		}
	}
	for _, o := range a.have.sets {
		if !keep[o.name] && !(o.staged && !o.inUse) {
			a.nc.DelSet(&nftables.Set{Table: table(), Name: o.name})
			any = true
		}
	}
	for _, c := range a.have.chains {
		if old(c) {
			a.nc.DelChain(&nftables.Chain{Name: c.Name, Table: table()})
		}
	}
	for _, n := range a.have.counters {
		if !slices.Contains(a.want.counters, n) {
			a.nc.DeleteObject(&nftables.NamedObj{Table: table(), Name: n, Type: nftables.ObjTypeCounter})
			any = true
		}
	}
	return any
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
