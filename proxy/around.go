package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/platformd/platformd/proxy/buffer"
	"github.com/platformd/platformd/proxy/cache"
	"github.com/platformd/platformd/proxy/compress"
)

// defaultStore is the cache store of routes that name none.
const defaultStore = "default"

// build makes the handler of a route for a configuration that is about to be used.
func (s *Server) build(c *Config, p *plan) Back {
	return func(r *Route) (http.Handler, error) {
		h, err := p.handler(r)
		if err != nil {
			return nil, err
		}
		return s.around(c, r, h)
	}
}

// around puts what happens on the way around a back end. What is compressed was stored before, and what is stored was
// taken from the back end as fast as it gave it.
func (s *Server) around(c *Config, r *Route, h http.Handler) (http.Handler, error) {
	if r.Buffer != nil {
		b, err := buffer.New(*r.Buffer, s.pool, s.answer)
		if err != nil {
			return nil, err
		}
		h = b.Wrap(h)
	}
	if r.Cache != nil {
		store, err := s.stores.open(c, r.Cache.Store)
		if err != nil {
			return nil, err
		}
		k, err := cache.New(*r.Cache, store, "platformd")
		if err != nil {
			return nil, err
		}
		h = detachable(k.Wrap(attached(h)))
	}
	kind, _ := r.kind()
	conf := r.Compress
	if conf == nil && kind == backendFiles {
		conf = &compress.Config{}
	}
	if conf != nil && !conf.Off {
		z, err := compress.New(*conf)
		if err != nil {
			return nil, err
		}
		h = z.Wrap(h)
	}
	return h, nil
}

// A cache asks the back end with a writer of its own, and it may do so when the request is answered already. What is behind
// it then works with a copy of the exchange, which detachable leaves in the context and attached takes from there.

type detachedKey struct{}

func detachable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clone := *exchangeOf(w)
		clone.requestID()
		clone.detached = true
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), detachedKey{}, &clone)))
	})
}

func attached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if exchangeOf(w) == nil {
			x := *r.Context().Value(detachedKey{}).(*exchange)
			x.ResponseWriter, x.request = w, r
			w = &x
		}
		next.ServeHTTP(w, r)
	})
}

// answer is an error page for a part of the chain.
func (s *Server) answer(w http.ResponseWriter, _ *http.Request, status int) {
	s.fail(exchangeOf(w), status, http.StatusText(status))
}

// stores are the caches. They outlive tables.
type stores struct {
	log   *slog.Logger
	work  string // the folder for disk tiers; empty is none
	mu    sync.Mutex
	known map[string]*openStore
}

type openStore struct {
	*cache.Store
	conf cache.StoreConfig
}

// open gives a store by name; one whose size was changed is opened anew.
func (t *stores) open(c *Config, name string) (*cache.Store, error) {
	if name == "" {
		name = defaultStore
	}
	conf := c.CacheStores[name]
	if t.work != "" && (conf.DiskBytes > 0 || name == defaultStore) {
		conf.Dir = filepath.Join(t.work, "cache", name)
	} else {
		conf.DiskBytes = 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.known[name]; s != nil {
		if s.conf == conf {
			return s.Store, nil
		}
		s.Close()
	}
	s, err := cache.OpenStore(conf, cache.Options{Logger: t.log})
	if err != nil {
		return nil, fmt.Errorf("cache.store %q: %w", name, err)
	}
	t.known[name] = &openStore{s, conf}
	return s, nil
}

// statistics are the counts of each store by its name.
func (t *stores) statistics() map[string]cache.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]cache.Stats{}
	for name, s := range t.known {
		out[name] = s.Stats()
	}
	return out
}

// close ends what stores do in the background.
func (t *stores) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.known {
		s.Close()
	}
}

// Purge drops what caches hold and gives how much that was: all of it, or what an address, a glob of addresses ("*" in it)
// or a tag ("tag:NAME") names.
func (s *Server) Purge(what string) (int, error) {
	s.stores.mu.Lock()
	defer s.stores.mu.Unlock()
	total := 0
	for _, st := range s.stores.known {
		var n int
		var err error
		tag, isTag := strings.CutPrefix(what, "tag:")
		switch {
		case what == "":
			n = st.PurgeAll()
		case isTag:
			n, err = st.PurgeTag(tag)
		case strings.Contains(what, "*"):
			n, err = st.PurgeGlob(what)
		default:
			n, err = st.PurgeURL(what)
		}
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// storeNames are those that routes may name.
func (c *Config) storeNames() []string {
	out := []string{defaultStore}
	for name := range c.CacheStores {
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
