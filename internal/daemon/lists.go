package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/worker"
)

// lists makes the big sets out of feeds and country data: one union of all feeds, and one set for each geo rule. The sets
// are files; only their names are held in memory.
//
// A set is looked up by what the policy says (which feeds, which countries), and the answer is the last one that was
// published for it: while new content is fetched, united and loaded, the old set stays the answer. There is no moment
// without one.
type lists struct {
	dir   string
	own   func() []netip.Addr
	feeds *feeds.Store
	geo   *geo.Store
	pool  *worker.Pool
	wakes chan struct{}

	// work is held while files are read and written, which takes long; mu only guards what follows it.
	work sync.Mutex
	// reading is held while country data is read; it is taken before work.
	reading sync.Mutex

	mu        sync.Mutex
	published bigSets
	made      map[string]firewall.BigSet // by all that a set is made from, so that nothing is made twice
	data      ranges.Info                // the country data in force
	next      map[string]time.Time       // when a feed is due
}

// bigSets are sets by feedsKey and host.GeoKey.
type bigSets map[string]firewall.BigSet

// of fills in what the policy needs.
func (b bigSets) of(p *firewall.Policy) (firewall.BigSet, map[string]firewall.BigSet) {
	geoSets := map[string]firewall.BigSet{}
	for _, g := range p.Geo {
		geoSets[host.GeoKey(g)] = b[host.GeoKey(g)]
	}
	return b[feedsKey(p)], geoSets
}

// feedsKey names the feeds that are in force.
func feedsKey(p *firewall.Policy) string {
	var names []string
	for _, f := range p.Feeds {
		if !f.Disabled {
			names = append(names, copyKey(f))
		}
	}
	slices.Sort(names)
	return "feeds " + strings.Join(names, " ")
}

func copyKey(f firewall.Feed) string { return f.Name + " " + f.Source }

func (d *Daemon) openLists() (*lists, error) {
	fs, err := feeds.OpenStore(filepath.Join(d.cfg.DataDir, "feeds"))
	if err != nil {
		return nil, err
	}
	gs, err := geo.OpenStore(filepath.Join(d.cfg.DataDir, "geo"))
	if err != nil {
		return nil, err
	}
	uid, gid := workerUser(d.cfg.WorkerUser)
	pool, err := worker.New(worker.Config{UID: uid, GID: gid, TempDir: d.cfg.DataDir, Args: d.cfg.Worker, Log: d.log, UserAgent: "platformd/" + d.cfg.Version})
	if err != nil {
		return nil, err
	}
	l := &lists{dir: setsDir(d.cfg.DataDir), own: d.addresses, feeds: fs, geo: gs, pool: pool, wakes: make(chan struct{}, 1),
		published: bigSets{}, made: map[string]firewall.BigSet{}, next: map[string]time.Time{}}
	s, _ := d.store.Current()
	l.adopt(d.cfg.DataDir, &s.Firewall)
	m, err := gs.Get()
	if err != nil {
		return nil, err
	}
	l.data = m.DB
	return l, nil
}

// adopt publishes the sets of the last good ruleset, so that lists are in force from the first pass on even where their
// sources are gone.
func (l *lists) adopt(dataDir string, p *firewall.Policy) {
	s, ok, err := readSaved(lastGoodPath(dataDir))
	if err != nil || !ok {
		return
	}
	whole := len(s.Ruleset.Geo)
	s.Ruleset.DropMissing(fileExists)
	l.published[feedsKey(p)] = s.Ruleset.Feeds
	if whole != len(p.Geo) || whole != len(s.Ruleset.Geo) {
		return
	}
	for i, g := range p.Geo {
		l.published[host.GeoKey(g)] = s.Ruleset.Geo[i].Set
	}
}

func (l *lists) wake() {
	select {
	case l.wakes <- struct{}{}:
	default:
	}
}

// sets are what the ruleset of a policy needs.
func (l *lists) sets(p *firewall.Policy) (firewall.BigSet, map[string]firewall.BigSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published.of(p)
}

// asRuleset holds every set that is remembered, for sweepSets. The caller holds mu.
func (l *lists) asRuleset() *firewall.Ruleset {
	rs := &firewall.Ruleset{}
	for _, m := range []map[string]firewall.BigSet{l.published, l.made} {
		for _, s := range m {
			rs.Geo = append(rs.Geo, firewall.GeoScope{Set: s})
		}
	}
	return rs
}

// publish makes sets the answer from now on.
func (l *lists) publish(sets bigSets) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, v := range sets {
		l.published[k] = v
	}
}

// forget drops the sets that the policy in force does not need.
func (l *lists) forget(p *firewall.Policy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := map[string]bool{feedsKey(p): true}
	for _, g := range p.Geo {
		wanted[host.GeoKey(g)] = true
	}
	for k := range l.published {
		if !wanted[k] {
			delete(l.published, k)
		}
	}
	for k, set := range l.made {
		needed := false
		for _, v := range l.published {
			needed = needed || v == set
		}
		if !needed {
			delete(l.made, k)
		}
	}
}

// answered reports whether there is an answer for everything that the policy asks, be it an old one.
func (l *lists) answered(p *firewall.Policy) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.published[feedsKey(p)]; !ok && len(p.Feeds) > 0 {
		return false
	}
	for _, g := range p.Geo {
		if _, ok := l.published[host.GeoKey(g)]; !ok {
			return false
		}
	}
	return true
}

// prepare sees to it that every set which the policy needs is published. It makes those that are not; it does not renew
// those that are.
func (l *lists) prepare(ctx context.Context, p *firewall.Policy) error {
	for i, g := range p.Geo {
		if err := geo.Check(g.Countries); err != nil {
			return fmt.Errorf("%w: geo rule %d: %w", api.ErrInvalid, i, err)
		}
	}
	if l.answered(p) {
		return nil
	}
	sets, err := l.make(ctx, p)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, v := range sets {
		if _, ok := l.published[k]; !ok {
			l.published[k] = v
		}
	}
	return nil
}

// make makes the sets of a policy from what is known now.
func (l *lists) make(ctx context.Context, p *firewall.Policy) (bigSets, error) {
	l.work.Lock()
	defer l.work.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sets := bigSets{}
	return sets, errors.Join(l.unite(p, sets), l.choose(p, sets))
}

// unite makes the union of the last good copies of the policy's feeds, without what must never be blocked by a list. The
// caller holds work.
func (l *lists) unite(p *firewall.Policy, sets bigSets) error {
	var paths, digests []string
	for _, f := range p.Feeds {
		if f.Disabled {
			continue
		}
		m, err := l.feeds.Get(f.Name, f.Source)
		if err != nil {
			return err
		}
		if m.Copy.Digest != "" {
			paths, digests = append(paths, m.Copy.Path), append(digests, m.Copy.Digest)
		}
	}
	slices.Sort(digests)
	protected := l.protected(p)
	set, err := l.once(fmt.Sprint("feeds ", digests, protected), func() (ranges.Info, error) {
		if len(paths) == 0 {
			return ranges.Info{}, nil
		}
		return feeds.Union(paths, protected, l.dir)
	})
	if err != nil {
		return fmt.Errorf("unite feeds: %w", err)
	}
	sets[feedsKey(p)] = set
	return nil
}

// once makes a set unless it was made before.
func (l *lists) once(key string, build func() (ranges.Info, error)) (firewall.BigSet, error) {
	l.mu.Lock()
	set, ok := l.made[key]
	l.mu.Unlock()
	if ok && (set.Path == "" || fileExists(set.Path)) {
		return set, nil
	}
	info, err := build()
	if err != nil {
		return firewall.BigSet{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made[key] = bigSet(info)
	return l.made[key], nil
}

// protected ranges are never in a set that drops: own addresses and the always-allow list. Private and other reserved
// ranges were taken out of each feed before.
func (l *lists) protected(p *firewall.Policy) []ranges.Range {
	var out []ranges.Range
	for _, a := range l.own() {
		out = append(out, ranges.Single(a))
	}
	for _, a := range p.Allow {
		out = append(out, a.Target)
	}
	return ranges.Normalize(out)
}

// choose makes the set of each geo rule. The caller holds work.
func (l *lists) choose(p *firewall.Policy, sets bigSets) error {
	if len(p.Geo) == 0 {
		return nil
	}
	db, err := l.openData()
	if err != nil {
		return err
	}
	defer db.Close()
	for _, g := range p.Geo {
		set, err := l.once(db.Info().Digest+" "+host.GeoKey(g), func() (ranges.Info, error) {
			seq := db.Select(g.Countries, g.Action == firewall.GeoAllow && g.AdmitUnknown)
			if g.Action == firewall.GeoAllow {
				// What the internet does not route belongs to no country; a rule about countries does not concern it.
				seq = ranges.Merge(seq, ranges.FromSlice(ranges.Reserved()))
			}
			return ranges.Write(l.dir, seq)
		})
		if err != nil {
			return fmt.Errorf("select countries %v: %w", g.Countries, err)
		}
		sets[host.GeoKey(g)] = set
	}
	return nil
}

// openData opens the country data in force.
func (l *lists) openData() (*geo.File, error) {
	l.mu.Lock()
	path := l.data.Path
	l.mu.Unlock()
	if path == "" {
		return nil, fmt.Errorf("country data: %w: none was read yet; install the package tor-geoipdb, or name files under firewall.geo_data, then run platformctl geo update", api.ErrUnavailable)
	}
	return geo.Open(path)
}

func bigSet(i ranges.Info) firewall.BigSet {
	if i.V4+i.V6 == 0 {
		return firewall.BigSet{}
	}
	return firewall.BigSet{Path: i.Path, Digest: i.Digest, V4: i.V4, V6: i.V6}
}

// lookup implements firewall.Lookup.
func (l *lists) lookup(set firewall.BigSet, a netip.Addr) (ranges.Range, bool, error) {
	f, err := ranges.Open(set.Path)
	if err != nil {
		return ranges.Range{}, false, err
	}
	defer f.Close()
	return f.Contains(a)
}

// behind names the feeds and the country that an address is in.
func (l *lists) behind(p *firewall.Policy, a netip.Addr) []string {
	l.work.Lock()
	defer l.work.Unlock()
	var out []string
	for _, f := range p.Feeds {
		m, err := l.feeds.Get(f.Name, f.Source)
		if err != nil || m.Copy.Digest == "" {
			continue
		}
		r, in, err := l.lookup(bigSet(m.Copy), a)
		if err == nil && in {
			state := ""
			if f.Disabled {
				state = " (disabled)"
			}
			out = append(out, fmt.Sprintf("feed %s%s: %v, last changed %s", f.Name, state, r, m.Changed.Format(time.DateTime)))
		}
	}
	if cc, _, ok, err := l.country(a); err == nil && ok {
		out = append(out, strings.TrimSpace(fmt.Sprintf("country %s %s", cc, geo.Name(cc))))
	}
	return out
}

func (l *lists) country(a netip.Addr) (cc string, r ranges.Range, ok bool, err error) {
	db, err := l.openData()
	if err != nil {
		return "", ranges.Range{}, false, err
	}
	defer db.Close()
	return db.Lookup(a)
}
