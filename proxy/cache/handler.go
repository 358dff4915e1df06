package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// maxKey bounds the addresses that are stored under.
const maxKey = 8 << 10

// Cache is the caching of one route.
type Cache struct {
	config Config
	store  *Store
	name   string
}

// New makes the caching of a route by a store. name is what Cache-Status calls it (RFC 9211), a token.
func New(c Config, store *Store, name string) (*Cache, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if store == nil || !isToken(name) {
		return nil, errors.New("cache: needs a store, and a token for a name")
	}
	return &Cache{config: c.withDefaults(), store: store, name: name}, nil
}

// Wrap answers by the store where it can, and by next where not.
func (c *Cache) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, next) })
}

func (c *Cache) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		c.forward(w, r, next, "fwd=method")
		return
	}
	if c.bypasses(r) {
		c.forward(w, r, next, "fwd=bypass")
		return
	}
	key := c.keyOf(r)
	if len(key) > maxKey {
		c.forward(w, r, next, "fwd=bypass")
		return
	}
	cc := parseControl(r.Header["Cache-Control"])
	asked := control{onlyIfCached: cc.onlyIfCached}
	if c.config.ClientDirectives {
		asked = cc
	}
	q := &query{Cache: c, w: w, r: r, next: next, key: key, asked: asked}
	for waits := 0; q.attempt(waits); waits++ {
	}
}

// bypasses is for what is neither looked up nor stored: what has a meaning beyond its address and fields.
func (c *Cache) bypasses(r *http.Request) bool {
	for _, name := range []string{"Upgrade", "If-Match", "If-Unmodified-Since", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if r.Header[name] != nil {
			return true
		}
	}
	// An answer to a body that is not in the key. HTTP/3 does not say whether there is one (quic-go gives -1 to every GET
	// without a length); what is stored is asked for without it, see start.
	if r.ContentLength > 0 || r.ContentLength < 0 && r.ProtoMajor < 3 || len(r.TransferEncoding) > 0 {
		return true
	}
	for _, pattern := range c.config.Bypass {
		if glob(pattern, r.URL.Path) {
			return true
		}
	}
	return false
}

// query is one request on its way.
type query struct {
	*Cache
	w     http.ResponseWriter
	r     *http.Request
	next  http.Handler
	key   string
	asked control // what of the request's directives is obeyed
}

// attempt answers, or waits for somebody who fetches the same and says that it should be tried again. waits is how
// often it has waited already.
func (q *query) attempt(waits int) (again bool) {
	now := q.store.now()
	o, all := q.store.find(q.key, q.r.Header)
	if o != nil && q.mayServe(o, now) {
		if err := q.hit(o, now, waits > 0); err == nil {
			return false
		}
		o = nil // its body is gone or damaged
	}
	if q.asked.onlyIfCached {
		addStatus(q.w.Header(), q.name, "fwd=request; fwd-status=504")
		http.Error(q.w, "not in the cache", http.StatusGatewayTimeout)
		return false
	}
	if o != nil && !o.Strict && o.StaleWhile > 0 && -o.remaining(now) <= o.StaleWhile && !q.asked.noCache && !q.asked.maxAge.given {
		if q.send(o, now, "hit; ttl="+ttl(o, now)+"; detail=stale-while-revalidate") == nil {
			q.store.hits.Add(1)
			q.renew(o, all)
			return false
		}
		o = nil
	}
	q.store.misses.Add(1)
	canAsk := o != nil && len(o.validators()) > 0
	why := "uri-miss"
	switch {
	case o != nil:
		why = "stale"
	case len(all) > 0:
		why = "vary-miss"
	}
	if q.r.Method == http.MethodHead || q.r.Header["Range"] != nil && !canAsk {
		q.forward(q.w, q.r, q.next, "fwd="+why)
		return false
	}
	f, again := q.board(o, all, waits)
	if f != nil {
		q.fetch(f, o, why)
	}
	return again
}

// mayServe reports whether a stored answer may be given as it is.
func (q *query) mayServe(o *object, now time.Time) bool {
	left := o.remaining(now)
	switch {
	case q.asked.noCache || q.asked.noStore:
		return false
	case q.asked.maxAge.given && o.age(now) > q.asked.maxAge.duration():
		return false
	case q.asked.minFresh.given && left < q.asked.minFresh.duration():
		return false
	case left > 0:
		return true
	}
	return q.asked.maxStale.given && !o.Strict && -left <= q.asked.maxStale.duration()
}

// board gives a flight to fetch with; or none, and whether to look again, when somebody else has fetched.
func (q *query) board(o *object, all []*object, waits int) (f *flight, again bool) {
	// Conditions of the client's own go to the back end as they are, and its 304 is for nobody else.
	ownConditions := o == nil && (q.r.Header["If-None-Match"] != nil || q.r.Header["If-Modified-Since"] != nil)
	if ownConditions || waits >= 2 || q.asked.noCache || q.store.passed(q.key) {
		return q.store.depart(q.key), false
	}
	f, leads := q.store.join(flightName(q.key, all, q.r.Header), q.key)
	if leads {
		return f, false
	}
	patience := time.NewTimer(time.Duration(q.config.Wait))
	defer patience.Stop()
	q.store.waiting.Add(1)
	defer q.store.waiting.Add(-1)
	select {
	case <-f.done:
		if f.result == unreusable || f.result == unlucky {
			return q.store.depart(q.key), false
		}
		return nil, true
	case <-patience.C:
		return q.store.depart(q.key), false
	case <-q.r.Context().Done():
		return nil, false
	}
}

// hit answers with a stored object that may be used.
func (q *query) hit(o *object, now time.Time, collapsed bool) error {
	status := "hit; ttl=" + ttl(o, now)
	if collapsed {
		status = "fwd=uri-miss; collapsed"
	}
	if err := q.send(o, now, status); err != nil {
		return err
	}
	q.store.hits.Add(1)
	return nil
}

// start begins a fetch for the store and, where there is one, a client.
func (q *query) start(ctx context.Context, f *flight, o *object, client http.ResponseWriter, why string) *capture {
	if ctx.Value(http.ServerContextKey) == nil {
		// Without a server in its context httputil.ReverseProxy keeps it to itself that a body broke off, and a part would be
		// stored as the whole. HTTP/3 requests have none.
		ctx = context.WithValue(ctx, http.ServerContextKey, &http.Server{})
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &capture{
		cache: q.Cache, flight: f, asked: q.store.now(), ctx: ctx, cancel: cancel, header: http.Header{},
		decided: make(chan struct{}), ended: make(chan struct{}), overflow: make(chan struct{}), drained: make(chan struct{}),
		client: client, why: why, gone: make(chan struct{}), unlink: func() bool { return true },
	}
	if client != nil {
		c.unlink = context.AfterFunc(q.r.Context(), cancel)
	}
	own := *q.r // which may be over while the fetch is not
	own.Header = q.r.Header.Clone()
	c.r = &own
	r := q.r.Clone(ctx)
	r.Body, r.ContentLength = http.NoBody, 0
	if o != nil {
		// Its conditions are about what the client has, ours about what is stored.
		for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range"} {
			r.Header.Del(name)
		}
		for name, values := range o.validators() {
			r.Header[name] = values
		}
		c.old = o
	}
	go c.run(q.next, r)
	return c
}

// fetch lets the next handler answer, on a goroutine of its own, and gives the client its share.
func (q *query) fetch(f *flight, o *object, why string) {
	c := q.start(context.WithoutCancel(q.r.Context()), f, o, q.w, why)
	defer c.leave()
	select {
	case <-c.decided:
	case <-q.r.Context().Done():
		if c.mayLeave() {
			// The fetch ends with the request's context; somebody who waits will ask again.
			panic(http.ErrAbortHandler)
		}
		<-c.decided
	}
	switch c.fate {
	case passing:
		<-c.ended
	case renewed:
		q.w.Header().Del("Age")
		if err := q.send(c.fresh, q.store.now(), c.forwarded()); err != nil {
			panic(http.ErrAbortHandler)
		}
	case stale:
		if err := q.send(o, q.store.now(), "fwd=stale; detail=stale-if-error"); err != nil {
			http.Error(q.w, http.StatusText(http.StatusBadGateway), http.StatusBadGateway)
		}
	case storing:
		q.stream(c)
	}
	if c.fate == passing || c.fate == useless {
		<-c.ended
		if c.broke != nil {
			panic(c.broke)
		}
		if c.fate == useless {
			panic(http.ErrAbortHandler)
		}
	}
}

// stream gives the client what the store gets.
func (q *query) stream(c *capture) {
	setHeader(q.w.Header(), c.sent)
	addStatus(q.w.Header(), q.name, c.forwarded()+"; stored")
	q.w.WriteHeader(c.status)
	flush := func() { _ = http.NewResponseController(q.w).Flush() }
	_, err := c.spool.copyTo(q.w, flush, c.overflow)
	select {
	case <-c.overflow:
		if err == nil {
			close(c.drained)
			<-c.ended
			if c.broke != nil {
				panic(c.broke)
			}
			return
		}
	default:
	}
	if err != nil {
		// The client has gone, or the body has broken off. In the first case the fetch goes on for the store, for a while.
		stop := time.AfterFunc(fillTime, c.cancel)
		go func() {
			<-c.ended
			stop.Stop()
		}()
		panic(http.ErrAbortHandler)
	}
}

// renew fetches a stale object anew in the background.
func (q *query) renew(o *object, all []*object) {
	if !q.store.begin() {
		return
	}
	f, leads := q.store.join(flightName(q.key, all, q.r.Header), q.key)
	if !leads {
		q.store.end()
		return
	}
	// Values of the request's context stay, its end does not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.r.Context()), fillTime)
	stop := context.AfterFunc(q.store.ctx, cancel)
	background := *q
	background.r = q.r.Clone(ctx)
	background.r.Method = http.MethodGet
	background.r.Header.Del("Range")
	c := background.start(ctx, f, o, nil, "stale")
	go func() {
		defer q.store.end()
		defer cancel()
		defer stop()
		<-c.ended
		if c.broke != nil && !isAbort(c.broke) {
			q.store.log.Warn("cache", "err", fmt.Errorf("revalidate %s: panic: %v", strings.ReplaceAll(q.key, keySeparator, " "), c.broke))
		}
	}()
}

func isAbort(v any) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}
