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
// are files; only their names are held in memory. What a policy needs is found by a key that names all that it is made
// from, so that preparing a policy which is then refused changes nothing for the one in force.
type lists struct {
	dir   string
	own   func() []netip.Addr
	feeds *feeds.Store
	geo   *geo.Store
	pool  *worker.Pool
	wakes chan struct{}

	// work is held while files are read and written, which takes long; mu only guards what follows it.
	work sync.Mutex

	mu        sync.Mutex
	copies    map[string]ranges.Info // last good copies by name and source
	unions    map[string]firewall.BigSet
	adopted   firewall.BigSet // the union of the last good ruleset, until there is another
	data      ranges.Info     // the country data in force
	selection map[string]firewall.BigSet
	next      map[string]time.Time // when a feed is due
}

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
		copies: map[string]ranges.Info{}, unions: map[string]firewall.BigSet{}, selection: map[string]firewall.BigSet{}, next: map[string]time.Time{}}
	l.adopt(d.cfg.DataDir)
	m, err := gs.Get()
	if err != nil {
		return nil, err
	}
	l.data = m.DB
	return l, nil
}

// adopt takes the sets of the last good ruleset, so that lists are in force from the first pass on even where their
// sources are gone.
func (l *lists) adopt(dataDir string) {
	s, ok, err := readSaved(lastGoodPath(dataDir))
	if err != nil || !ok {
		return
	}
	s.Ruleset.DropMissing(fileExists)
	l.adopted = s.Ruleset.Feeds
}

func (l *lists) wake() {
	select {
	case l.wakes <- struct{}{}:
	default:
	}
}

// sets are what the ruleset of a policy needs, as far as they are there.
func (l *lists) sets(p *firewall.Policy) (firewall.BigSet, map[string]firewall.BigSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	geoSets := map[string]firewall.BigSet{}
	for _, g := range p.Geo {
		geoSets[host.GeoKey(g)] = l.selection[l.selectionKey(g)]
	}
	key, any := l.unionKey(p)
	if !any {
		return firewall.BigSet{}, geoSets
	}
	if set, ok := l.unions[key]; ok {
		return set, geoSets
	}
	return l.adopted, geoSets
}

// asRuleset holds every set that is remembered, for sweepSets. The caller holds mu.
func (l *lists) asRuleset() *firewall.Ruleset {
	rs := &firewall.Ruleset{Feeds: l.adopted}
	for _, m := range []map[string]firewall.BigSet{l.unions, l.selection} {
		for _, s := range m {
			rs.Geo = append(rs.Geo, firewall.GeoScope{Set: s})
		}
	}
	return rs
}

// forget drops the sets that the policy in force does not need.
func (l *lists) forget(p *firewall.Policy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, _ := l.unionKey(p)
	for k := range l.unions {
		if k != key {
			delete(l.unions, k)
		}
	}
	if _, ok := l.unions[key]; ok {
		l.adopted = firewall.BigSet{}
	}
	wanted := map[string]bool{}
	for _, g := range p.Geo {
		wanted[l.selectionKey(g)] = true
	}
	for k := range l.selection {
		if !wanted[k] {
			delete(l.selection, k)
		}
	}
}

func copyKey(f firewall.Feed) string { return f.Name + " " + f.Source }

// unionKey names what the union is made from; any is false where there is nothing. The caller holds mu.
func (l *lists) unionKey(p *firewall.Policy) (key string, any bool) {
	var digests []string
	for _, f := range p.Feeds {
		if c := l.copies[copyKey(f)]; !f.Disabled && c.Digest != "" {
			digests = append(digests, c.Digest)
		}
	}
	slices.Sort(digests)
	// A feed that has not been fetched yet leaves the adopted union in force.
	return fmt.Sprint(digests, l.protected(p)), len(digests) > 0 || (len(p.Feeds) > 0 && l.adopted.Path != "")
}

func (l *lists) selectionKey(g firewall.GeoRule) string { return l.data.Digest + " " + host.GeoKey(g) }

// prepare makes the sets that a policy needs and that are not there yet. It returns at once where all are.
func (l *lists) prepare(ctx context.Context, p *firewall.Policy) error {
	for i, g := range p.Geo {
		if err := geo.Check(g.Countries); err != nil {
			return fmt.Errorf("%w: geo rule %d: %w", api.ErrInvalid, i, err)
		}
	}
	if l.prepared(p) {
		return nil
	}
	l.work.Lock()
	defer l.work.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(l.unite(p), l.choose(p))
}

func (l *lists) prepared(p *firewall.Policy) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range p.Feeds {
		if _, known := l.copies[copyKey(f)]; !known && !f.Disabled {
			return false
		}
	}
	key, any := l.unionKey(p)
	if _, ok := l.unions[key]; any && !ok {
		return false
	}
	for _, g := range p.Geo {
		if _, ok := l.selection[l.selectionKey(g)]; !ok {
			return false
		}
	}
	return true
}

// unite makes the union of the last good copies of the policy's feeds, without what must never be blocked by a list. The
// caller holds work.
func (l *lists) unite(p *firewall.Policy) error {
	var paths []string
	for _, f := range p.Feeds {
		if f.Disabled {
			continue
		}
		m, err := l.feeds.Get(f.Name, f.Source)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.copies[copyKey(f)] = m.Copy
		l.mu.Unlock()
		if m.Copy.Digest != "" {
			paths = append(paths, m.Copy.Path)
		}
	}
	l.mu.Lock()
	key, _ := l.unionKey(p)
	set, ok := l.unions[key]
	l.mu.Unlock()
	if len(paths) == 0 || (ok && fileExists(set.Path)) {
		return nil
	}
	info, err := feeds.Union(paths, l.protected(p), l.dir)
	if err != nil {
		return fmt.Errorf("unite feeds: %w", err)
	}
	l.mu.Lock()
	l.unions[key] = bigSet(info)
	l.mu.Unlock()
	return nil
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
func (l *lists) choose(p *firewall.Policy) error {
	if len(p.Geo) == 0 {
		return nil
	}
	db, err := l.openData()
	if err != nil {
		return err
	}
	defer db.Close()
	for _, g := range p.Geo {
		l.mu.Lock()
		key := l.selectionKey(g)
		set, ok := l.selection[key]
		l.mu.Unlock()
		if ok && (set.Path == "" || fileExists(set.Path)) {
			continue
		}
		seq := db.Select(g.Countries, g.Action == firewall.GeoAllow && g.AdmitUnknown)
		if g.Action == firewall.GeoAllow {
			// What the internet does not route belongs to no country; a rule about countries does not concern it.
			seq = ranges.Merge(seq, ranges.FromSlice(ranges.Reserved()))
		}
		info, err := ranges.Write(l.dir, seq)
		if err != nil {
			return fmt.Errorf("select countries %v: %w", g.Countries, err)
		}
		l.mu.Lock()
		l.selection[key] = bigSet(info)
		l.mu.Unlock()
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
