// Package nft keeps a firewall.Ruleset in the nftables table "inet platform", and touches nothing else.
//
// A ruleset is spelled in three small stages: vocabulary.go has the statements, spec.go and its neighbours say which
// chains, rules and sets a ruleset needs, apply.go puts the difference into the kernel. Rules are few; whatever grows is a
// set. Sets that are replaced as a whole have generations: the next one is created, filled and verified while no rule
// refers to it, and one transaction switches the rules and removes the old one, so that there is no packet that sees a
// half-filled set. Bans are changed in place, because a hash set allows it.
//
// The package never flushes the ruleset, never reads the members of a big set, and never trusts that an error means that
// nothing has changed: Observe tells.
package nft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// tableName is the one table, of family inet, that is ours.
const tableName = "platform"

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// Driver implements firewall.Driver for the network namespace that the process is in.
type Driver struct {
	mu     sync.Mutex
	staged map[string]bool // kernel names of sets that Stage made and no rule refers to yet
	last   *snapshot       // what was read last, for as long as nobody has committed anything since
	watch  listener
}

// New checks that the kernel has nftables.
func New() (*Driver, error) {
	d := &Driver{staged: map[string]bool{}}
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := generation(c); err != nil {
		return nil, fmt.Errorf("nftables is not usable (kernel without it, or no CAP_NET_ADMIN): %w", err)
	}
	return d, nil
}

// Name implements firewall.Driver.
func (d *Driver) Name() string { return "nft" }

// Render implements firewall.Driver.
func (d *Driver) Render(rs *firewall.Ruleset) (firewall.Listing, error) {
	return newSpec(rs).listing(), nil
}

// Observe implements firewall.Driver.
func (d *Driver) Observe(context.Context) (firewall.Listing, error) {
	s, err := d.snapshot()
	if err != nil {
		return nil, err
	}
	return s.listing(), nil
}

func (d *Driver) snapshot() (s *snapshot, err error) {
	err = connected(func(c *netlink.Conn, nc *nftables.Conn) (err error) {
		s, err = d.read(c, nc)
		return err
	})
	return s, err
}

// connected calls use with the two connections to the kernel: the wire of this package, and the library's.
func connected(use func(c *netlink.Conn, nc *nftables.Conn) error) (err error) {
	c, err := dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	nc, err := nftables.New(nftables.WithSockOptions(setBuffers), nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer func() { err = errors.Join(err, nc.CloseLasting()) }()
	return use(c, nc)
}

// read observes, and remembers what it saw where nothing was committed meanwhile.
func (d *Driver) read(c *netlink.Conn, nc *nftables.Conn) (*snapshot, error) {
	before, err := generation(c)
	if err != nil {
		return nil, err
	}
	s, err := observe(c, nc, d.stagedNames)
	if err != nil {
		return nil, err
	}
	after, err := generation(c)
	if err != nil {
		return nil, err
	}
	s.generation = after
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = nil
	if before == after {
		d.last = s
	}
	return s, nil
}

// recall gives what was read last, where the generation of the ruleset says that it is still so. What ended by itself
// since is left out, because the kernel does not count that as a change.
func (d *Driver) recall(c *netlink.Conn, nc *nftables.Conn) (*snapshot, error) {
	d.mu.Lock()
	last := d.last
	d.last = nil // whoever acts on it changes it
	d.mu.Unlock()
	if last != nil {
		now, err := generation(c)
		if err != nil {
			return nil, err
		}
		if now == last.generation {
			return last.without(time.Now()), nil
		}
	}
	return d.read(c, nc)
}

// Probe implements firewall.Driver.
func (d *Driver) Probe(_ context.Context, name string, a netip.Addr) (bool, error) {
	c, err := dial()
	if err != nil {
		return false, err
	}
	defer c.Close()
	f := ip4
	if a.Is6() {
		f = ip6
	}
	if name == "bans" && a.Is6() {
		a = netip.PrefixFrom(a, 64).Masked().Addr()
	}
	sets, err := listSets(c)
	if errors.Is(err, unix.ENOENT) { // no table
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, s := range sets {
		if l := logicalName(s.name); l == name+f.digit || l == name+"_"+f.digit {
			found, err := contains(c, s.name, a)
			if found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// Counters implements firewall.Driver.
func (d *Driver) Counters(context.Context) ([]firewall.Counter, error) {
	nc, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	objs, err := nc.GetObjects(table())
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	var out []firewall.Counter
	for _, o := range objs {
		if c, ok := o.(*nftables.CounterObj); ok {
			out = append(out, firewall.Counter{Reason: reasonOf(c.Name), Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	bans, err := banned(nc)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Reason == firewall.ReasonBan {
			out[i].Packets += bans.Packets
			out[i].Bytes += bans.Bytes
		}
	}
	slices.SortFunc(out, func(a, b firewall.Counter) int { return strings.Compare(string(a.Reason), string(b.Reason)) })
	return out, nil
}

// reasonOf undoes word for a reason: "limit_mail_relay" is "limit:mail-relay".
func reasonOf(counter string) firewall.Reason {
	class, object, ok := strings.Cut(counter, "_")
	if !ok {
		return firewall.Reason(counter)
	}
	return firewall.Reason(class).Of(strings.ReplaceAll(object, "_", "-"))
}

// Apply implements firewall.Driver.
func (d *Driver) Apply(ctx context.Context, rs *firewall.Ruleset) (found firewall.Listing, err error) {
	err = connected(func(c *netlink.Conn, nc *nftables.Conn) error {
		have, err := d.recall(c, nc)
		if err != nil {
			return err
		}
		found = have.listing()
		return d.apply(ctx, c, nc, have, rs)
	})
	return found, err
}

func (d *Driver) apply(ctx context.Context, c *netlink.Conn, nc *nftables.Conn, have *snapshot, rs *firewall.Ruleset) error {
	if rs.Off {
		if !have.exists {
			return nil
		}
		nc.DelTable(table())
		if err := nc.Flush(); err != nil {
			return fmt.Errorf("delete table inet %s: %w", tableName, err)
		}
		return nil
	}
	a := &application{wire: c, nc: nc, have: have, want: newSpec(rs), names: map[string]string{}, watch: &d.watch}
	if err := a.prepare(ctx); err != nil {
		return errors.Join(err, a.abandon())
	}
	if err := a.switchOver(); err != nil {
		return err
	}
	if err := a.cleanUp(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range a.names {
		delete(d.staged, name)
	}
	return nil
}
