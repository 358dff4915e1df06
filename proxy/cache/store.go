package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Bounds of a store's bookkeeping.
const (
	// maxPasses addresses are remembered as not worth waiting for, each for passTime.
	maxPasses = 10_000
	passTime  = 2 * time.Minute
	// maxBackground is how many stale objects are fetched anew at a time without anybody waiting.
	maxBackground = 64
)

// Options are what the surroundings give a Store.
type Options struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger is told what goes wrong without a client to tell; nil is nobody.
	Logger *slog.Logger
}

// Store holds responses. It outlives the routes that use it, and is safe for concurrent use.
type Store struct {
	config StoreConfig
	memory *memoryTier
	disk   *diskTier // nil where there is none
	now    func() time.Time
	log    *slog.Logger

	passes     *otter.Cache[string, time.Time]
	background chan struct{}
	ctx        context.Context
	cancel     context.CancelFunc
	running    sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[*flight]struct{}
	joined  map[string]*flight

	hits, misses, stored atomic.Uint64
	waiting              atomic.Int64
}

// OpenStore makes a store; what a former process left on its disk is there again.
func OpenStore(c StoreConfig, o Options) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Store{config: c.withDefaults(), now: o.Now, log: o.Logger, background: make(chan struct{}, maxBackground), flights: map[*flight]struct{}{}, joined: map[string]*flight{}}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.memory, err = newMemoryTier(s.config.MemoryBytes, s.config.MaxVariants); err != nil {
		return nil, err
	}
	if s.passes, err = otter.New(&otter.Options[string, time.Time]{MaximumSize: maxPasses, Executor: func(fn func()) { fn() }}); err != nil {
		return nil, fmt.Errorf("cache store: %w", err)
	}
	if s.config.Dir != "" {
		if s.disk, err = openDisk(s.config.Dir, s.config.DiskBytes, s.config.MaxVariants); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends what the store does in the background, and waits for it. Handlers that still use the store go on without it.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
}

// Stats are counters since the start, and what is held now.
type Stats struct {
	Hits, Misses, Stored       uint64
	Waiting                    int64 // requests that wait for another to fetch the same
	MemoryObjects, DiskObjects int
	MemoryBytes, DiskBytes     int64
}

// Stats of the store at this moment.
func (s *Store) Stats() Stats {
	out := Stats{Hits: s.hits.Load(), Misses: s.misses.Load(), Stored: s.stored.Load(), Waiting: s.waiting.Load()}
	out.MemoryObjects, out.MemoryBytes = s.memory.usage()
	if s.disk != nil {
		out.DiskObjects, out.DiskBytes = s.disk.usage()
	}
	return out
}

// find is the newest object that answers a request with these fields; all are those of the key.
func (s *Store) find(key string, request http.Header) (best *object, all []*object) {
	all = s.memory.find(key)
	if s.disk != nil {
		all = append(slices.Clip(all), s.disk.find(key)...)
	}
	for _, o := range all {
		if o.matches(request) && (best == nil || o.Received.After(best.Received)) {
			best = o
		}
	}
	return best, all
}

// put stores a whole body, unless its key was invalidated since it was asked for.
func (s *Store) put(f *flight, m meta, body *spool) {
	if f.doomed.Load() {
		return
	}
	same := func(o *meta) bool { return o.sameVariant(&m) }
	if b, ok := body.inMemory(); ok {
		s.memory.put(&object{meta: m, body: b})
		if s.disk != nil {
			s.disk.drop(m.Key, same)
		}
	} else {
		if err := s.disk.put(m, body); err != nil {
			s.log.Warn("cache", "err", err)
			return
		}
		s.memory.drop(m.Key, same)
	}
	s.stored.Add(1)
	if f.doomed.Load() {
		s.drop(m.Key, same)
	}
}

// refresh puts a revalidated object in the place of the old one.
func (s *Store) refresh(f *flight, old, now *object) {
	if f.doomed.Load() {
		return
	}
	if d, ok := now.body.(*diskObject); ok {
		if err := s.disk.refresh(d, now.meta); err != nil {
			s.log.Warn("cache", "err", fmt.Errorf("refresh %s: %w", now.Key, err))
		}
	} else {
		if !old.sameVariant(&now.meta) {
			s.memory.drop(old.Key, func(m *meta) bool { return m.sameVariant(&old.meta) })
		}
		s.memory.put(now)
	}
	if f.doomed.Load() {
		s.drop(now.Key, func(*meta) bool { return true })
	}
}

func (s *Store) drop(key string, f func(*meta) bool) int {
	n := s.memory.drop(key, f)
	if s.disk != nil {
		n += s.disk.drop(key, f)
	}
	return n
}

// purge drops what f holds for, by key and object, and whatever is being fetched for a key that may does not exclude.
func (s *Store) purge(may func(key string) bool, f func(*meta) bool) int {
	s.doom(may)
	keys := slices.Collect(s.memory.keys())
	if s.disk != nil {
		keys = append(keys, s.disk.keys()...)
	}
	slices.Sort(keys)
	n := 0
	for _, key := range slices.Compact(keys) {
		if may(key) {
			n += s.drop(key, f)
		}
	}
	return n
}

func (s *Store) doom(may func(key string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.flights {
		if may(f.key) {
			f.doomed.Store(true)
		}
	}
}

// PurgeURL drops every stored answer for an address, "https://host/path?query", and says how many there were.
func (s *Store) PurgeURL(url string) (int, error) {
	key, err := keyOfURL(url)
	if err != nil {
		return 0, err
	}
	return s.purge(func(k string) bool { return urlOfKey(k) == key }, func(*meta) bool { return true }), nil
}

// PurgeGlob drops every stored answer whose address the pattern matches: "https://host/img/*", or "host/img/*" for both
// schemes. "*" is any text, slashes included.
func (s *Store) PurgeGlob(pattern string) (int, error) {
	if pattern == "" || len(pattern) > maxGlob {
		return 0, fmt.Errorf("purge %q: a pattern has 1 to %d bytes", pattern, maxGlob)
	}
	full := strings.Contains(pattern, "://")
	return s.purge(func(k string) bool {
		url := urlOfKey(k)
		if !full {
			_, url, _ = strings.Cut(url, "://")
		}
		return glob(pattern, url)
	}, func(*meta) bool { return true }), nil
}

// PurgeTag drops every stored answer that named the tag in Surrogate-Key or Cache-Tag.
func (s *Store) PurgeTag(tag string) (int, error) {
	if tag == "" {
		return 0, errors.New("purge by tag: the tag is empty")
	}
	return s.purge(func(string) bool { return true }, func(m *meta) bool { return slices.Contains(m.Tags, tag) }), nil
}

// PurgeAll drops everything.
func (s *Store) PurgeAll() int {
	return s.purge(func(string) bool { return true }, func(*meta) bool { return true })
}
