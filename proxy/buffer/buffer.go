package buffer

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Buffer is the buffering of one route.
type Buffer struct {
	config Config
	pool   *Pool
	fail   func(w http.ResponseWriter, r *http.Request, status int)
}

// New makes the buffering of a route, by a pool. fail answers with an error page; nil is a line of text.
func New(c Config, pool *Pool, fail func(w http.ResponseWriter, r *http.Request, status int)) (*Buffer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, errors.New("buffer: needs a pool")
	}
	c.MemoryBytes, c.DiskBytes, c.AdaptiveBytes = or(c.MemoryBytes, DefaultMemoryBytes), or(c.DiskBytes, DefaultDiskBytes), or(c.AdaptiveBytes, DefaultAdaptiveBytes)
	if fail == nil {
		fail = func(w http.ResponseWriter, _ *http.Request, status int) {
			http.Error(w, http.StatusText(status), status)
		}
	}
	return &Buffer{config: c, pool: pool, fail: fail}, nil
}

func (b *Buffer) newSpool() *spool {
	return &spool{pool: b.pool, memory: b.config.MemoryBytes, disk: b.config.DiskBytes}
}

// Wrap buffers what goes to next and what comes from it.
func (b *Buffer) Wrap(next http.Handler) http.Handler {
	request := b.config.Request == Full || b.config.Request == Adaptive
	response := b.config.Response == Full || b.config.Response == Adaptive
	if !request && !response {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			next.ServeHTTP(w, r)
			return
		}
		if request && b.takes(r) {
			buffered, release, ok := b.take(w, r)
			if !ok {
				return
			}
			defer release()
			r = buffered
		}
		if !response || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		out := &writer{ResponseWriter: w, buffer: b, spool: b.newSpool(), adaptive: b.config.Response == Adaptive}
		out.changed.L = &out.mu
		if out.header = w.Header().Clone(); out.header == nil {
			out.header = http.Header{}
		}
		defer out.close()
		next.ServeHTTP(out, r)
		out.finish()
	})
}

// isStream is for requests whose two directions depend on each other.
func isStream(r *http.Request) bool {
	return r.Method == http.MethodConnect || r.Header["Upgrade"] != nil || strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// takes reports whether a request's body is to be taken in.
func (b *Buffer) takes(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return false
	}
	return b.config.Request == Full || r.ContentLength > 0 && r.ContentLength <= b.config.AdaptiveBytes
}

// take reads a request's body. The request it makes has all of it, and its length; where it did not fit, what was read and
// the rest. ok is false when the client was answered.
func (b *Buffer) take(w http.ResponseWriter, r *http.Request) (buffered *http.Request, release func(), ok bool) {
	s := b.newSpool()
	block := b.pool.blocks.Get().(*[blockBytes]byte)
	defer b.pool.blocks.Put(block)
	var rest io.Reader
	for {
		n, err := r.Body.Read(block[:])
		if took := s.append(block[:n]); took < n {
			rest = io.MultiReader(strings.NewReader(string(block[took:n])), r.Body)
			if err != nil && err != io.EOF {
				rest = nil
			}
		}
		if err == io.EOF && rest == nil {
			break
		}
		if err != nil && err != io.EOF {
			s.reset()
			b.refuse(w, r, err)
			return nil, nil, false
		}
		if rest != nil {
			break
		}
	}
	out := *r
	if r.Header["Expect"] != nil { // has been answered by reading
		out.Header = r.Header.Clone()
		out.Header.Del("Expect")
	}
	var mu sync.Mutex
	closed := false
	open := func() (io.ReadCloser, error) {
		return &requestBody{mu: &mu, released: &closed, reader: reader{spool: s}, rest: rest}, nil
	}
	out.Body, _ = open()
	if rest == nil {
		out.GetBody = open
		// With fields in the trailer it has to stay chunked.
		if len(r.Trailer) == 0 {
			out.ContentLength, out.TransferEncoding = s.length(), nil
		}
	}
	return &out, func() {
		mu.Lock()
		defer mu.Unlock()
		closed = true
		s.reset()
	}, true
}

// refuse answers a request whose body could not be read.
func (b *Buffer) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		b.fail(w, r, http.StatusRequestEntityTooLarge)
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	default:
		b.fail(w, r, http.StatusBadRequest)
	}
}

// requestBody may be read for a while after the handler is done, by a transport that has not heard of it.
type requestBody struct {
	mu       *sync.Mutex
	released *bool
	reader   reader
	rest     io.Reader
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if *b.released {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.reader.Read(p)
	b.mu.Unlock()
	if err == io.EOF && b.rest != nil {
		return b.rest.Read(p)
	}
	return n, err
}

// Close implements io.Closer.
func (b *requestBody) Close() error { return nil }
