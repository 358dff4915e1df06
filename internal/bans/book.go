package bans

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/sqlite"
)

// Bounds of what the book remembers.
const (
	// MaxBans is how many sources can be banned at once; beyond it the one that ends first goes.
	MaxBans = 200_000
	// maxCounting is how many sources have strikes that may add up.
	maxCounting = 100_000
	// forgetAfter is how long a source must stay away from trouble before its next ban is a first one again.
	forgetAfter = 30 * 24 * time.Hour
)

// Config of a Book.
type Config struct {
	Now func() time.Time
	// Policy is asked at each strike.
	Policy func(reason string) Policy
	// Exempt reports sources that are never banned: always allowed, or the host's own.
	Exempt func(netip.Addr) bool
}

// Book keeps the bans. Its methods are safe for concurrent use.
type Book struct {
	cfg Config
	db  *sqlite.DB

	mu       sync.Mutex
	bans     map[ranges.Range]Ban
	counting map[key]*count
}

type key struct {
	target ranges.Range
	reason string
}

type count struct {
	strikes []time.Time // one entry per weight, at most the limit
	last    time.Time
}

const schema = `
CREATE TABLE bans (
	target TEXT PRIMARY KEY,
	reason TEXT NOT NULL,
	detail TEXT NOT NULL,
	since  INTEGER NOT NULL, -- nanoseconds since 1970
	until  INTEGER NOT NULL,
	count  INTEGER NOT NULL
) STRICT;
CREATE INDEX bans_until ON bans(until);`

// Open reads the book at path, or makes it.
func Open(ctx context.Context, path string, cfg Config) (*Book, error) {
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := db.Schema(ctx, 1, schema); err != nil {
		return nil, fmt.Errorf("open bans: %w (%w)", err, db.Close())
	}
	b := &Book{cfg: cfg, db: db, bans: map[ranges.Range]Ban{}, counting: map[key]*count{}}
	rows, err := db.Read.QueryContext(ctx, `SELECT target, reason, detail, since, until, count FROM bans WHERE until > ?`, cfg.Now().UnixNano())
	if err != nil {
		return nil, db.Explain("read bans", err)
	}
	defer rows.Close()
	for rows.Next() {
		x, err := scan(rows)
		if err != nil {
			return nil, db.Explain("read bans", err)
		}
		b.bans[x.Target] = x
	}
	return b, rows.Err()
}

func scan(row interface{ Scan(...any) error }) (Ban, error) {
	var x Ban
	var target string
	var since, until int64
	if err := row.Scan(&target, &x.Reason, &x.Detail, &since, &until, &x.Count); err != nil {
		return x, err
	}
	r, err := ranges.Parse(target)
	x.Target, x.Since, x.Until = r, time.Unix(0, since), time.Unix(0, until)
	return x, err
}

// Close closes the book.
func (b *Book) Close() error { return b.db.Close() }

// Add counts a strike. Where it leads to a ban, the ban is on disk and returned with banned true; a source that is banned
// already is left as it is.
func (b *Book) Add(ctx context.Context, s Strike) (ban Ban, banned bool, err error) {
	s.Source = s.Source.Unmap().WithZone("")
	if !s.Source.IsValid() || s.Source.IsLoopback() || s.Source.IsUnspecified() || s.Source.IsMulticast() || b.cfg.Exempt(s.Source) {
		return Ban{}, false, nil
	}
	p := b.cfg.Policy(s.Reason)
	if p.Disabled {
		return Ban{}, false, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Now()
	target := Target(s.Source)
	if old, ok := b.bans[target]; ok && old.Until.After(now) {
		return Ban{}, false, nil
	}
	if !b.full(key{target, s.Reason}, s, p, now) {
		return Ban{}, false, nil
	}
	before, err := b.timesBanned(ctx, target, now)
	if err != nil {
		return Ban{}, false, err
	}
	ban = Ban{Target: target, Reason: s.Reason, Detail: clip(s.Detail), Since: now, Until: now.Add(p.Duration(before)), Count: before + 1}
	if err := b.put(ctx, ban); err != nil {
		return Ban{}, false, err
	}
	delete(b.counting, key{target, s.Reason})
	b.bans[target] = ban
	b.makeRoom(now)
	return ban, true, nil
}

// full counts the strike and reports whether there are enough of them now.
func (b *Book) full(k key, s Strike, p Policy, now time.Time) bool {
	c := b.counting[k]
	if c == nil {
		if len(b.counting) >= maxCounting {
			b.forget(now, p.Window)
		}
		c = &count{}
		b.counting[k] = c
	}
	c.last = now
	c.strikes = slices.DeleteFunc(c.strikes, func(t time.Time) bool { return now.Sub(t) >= p.Window || t.After(now) })
	for range max(s.Weight, 1) {
		c.strikes = append(c.strikes, now)
		if len(c.strikes) >= p.Strikes {
			return true
		}
	}
	return false
}

// forget makes room: sources whose strikes are old, or else any half of them. A flood from many sources can so make some
// be counted anew, but not fill the memory.
func (b *Book) forget(now time.Time, window time.Duration) {
	for k, c := range b.counting {
		if now.Sub(c.last) >= window {
			delete(b.counting, k)
		}
	}
	n := len(b.counting) - maxCounting/2
	for k := range b.counting {
		if n <= 0 {
			return
		}
		delete(b.counting, k)
		n--
	}
}

func (b *Book) timesBanned(ctx context.Context, target ranges.Range, now time.Time) (int, error) {
	var n int
	err := b.db.Read.QueryRowContext(ctx, `SELECT count FROM bans WHERE target = ? AND until > ?`, target.String(), now.Add(-forgetAfter).UnixNano()).Scan(&n)
	if err == sql.ErrNoRows {
		return 0, nil
	}
	if err != nil {
		return 0, b.db.Explain("read ban", err)
	}
	return n, nil
}

func (b *Book) put(ctx context.Context, x Ban) error {
	_, err := b.db.Write.ExecContext(ctx, `INSERT INTO bans (target, reason, detail, since, until, count) VALUES (?,?,?,?,?,?)
		ON CONFLICT(target) DO UPDATE SET reason=excluded.reason, detail=excluded.detail, since=excluded.since, until=excluded.until, count=excluded.count`,
		x.Target.String(), x.Reason, x.Detail, x.Since.UnixNano(), x.Until.UnixNano(), x.Count)
	if err != nil {
		return b.db.Explain("write ban of "+x.Target.String(), err)
	}
	return nil
}

// makeRoom drops bans that ended, and beyond MaxBans those that end first.
func (b *Book) makeRoom(now time.Time) {
	if len(b.bans) <= MaxBans {
		return
	}
	for t, x := range b.bans {
		if !x.Until.After(now) {
			delete(b.bans, t)
		}
	}
	for len(b.bans) > MaxBans {
		var first Ban
		for _, x := range b.bans {
			if first.Until.IsZero() || x.Until.Before(first.Until) {
				first = x
			}
		}
		delete(b.bans, first.Target)
	}
}

// List is the bans in force, the newest first.
func (b *Book) List() []Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Now()
	out := make([]Ban, 0, len(b.bans))
	for t, x := range b.bans {
		if !x.Until.After(now) {
			delete(b.bans, t)
			continue
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(x, y Ban) int {
		if c := y.Since.Compare(x.Since); c != 0 {
			return c
		}
		return x.Target.Compare(y.Target)
	})
	return out
}

// Of is the ban that concerns an address.
func (b *Book) Of(a netip.Addr) (Ban, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x, ok := b.bans[Target(a)]
	return x, ok && x.Until.After(b.cfg.Now())
}

// Lift ends the bans in target and forgets how often those sources were banned. It gives back what it lifted.
func (b *Book) Lift(ctx context.Context, target ranges.Range) ([]Ban, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lifted []Ban
	for t, x := range b.bans {
		if !t.Overlaps(target) {
			continue
		}
		if _, err := b.db.Write.ExecContext(ctx, `DELETE FROM bans WHERE target = ?`, t.String()); err != nil {
			return lifted, b.db.Explain("lift ban of "+t.String(), err)
		}
		delete(b.bans, t)
		lifted = append(lifted, x)
	}
	for k := range b.counting {
		if k.target.Overlaps(target) {
			delete(b.counting, k)
		}
	}
	return lifted, nil
}

// Prune forgets sources that have stayed away from trouble.
func (b *Book) Prune(ctx context.Context) error {
	if _, err := b.db.Write.ExecContext(ctx, `DELETE FROM bans WHERE until < ?`, b.cfg.Now().Add(-forgetAfter).UnixNano()); err != nil {
		return b.db.Explain("forget old bans", err)
	}
	return nil
}

// clip bounds a detail and takes what is not printable out of it: it comes from an attacker and goes to a terminal.
func clip(s string) string {
	out := make([]rune, 0, len(s))
	n := 0
	for _, r := range s {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' || r == 0xfffd {
			r = '?'
		}
		if n += len(string(r)); n > MaxDetail {
			break
		}
		out = append(out, r)
	}
	return string(out)
}
