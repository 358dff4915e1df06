package proxy

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/proxy/metrics"
	"github.com/platformd/platformd/proxy/stream"
)

// streams are the connections and sockets of streams that there are now.
type streams struct {
	ctx context.Context // ends with the server, and with it whatever waits for a back end
	end context.CancelFunc

	mu       sync.Mutex
	draining bool
	open     map[*streamed]struct{}
	sockets  map[*stream.Sessions]struct{}
	counts   map[string]*streamCounts
}

// streamCounts are those of one stream. The bytes of connections of TCP are counted when they are over.
type streamCounts struct{ open, total, refused, failed, received, sent atomic.Int64 }

func newStreams() *streams {
	s := &streams{open: map[*streamed]struct{}{}, sockets: map[*stream.Sessions]struct{}{}, counts: map[string]*streamCounts{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// count gives the streams of a table their counts, which outlive it, and forgets those of others.
func (s *streams) count(t *Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, st := range t.streams {
		if s.counts[key] == nil {
			s.counts[key] = &streamCounts{}
		}
		st.counts = s.counts[key]
	}
	maps.DeleteFunc(s.counts, func(key string, _ *streamCounts) bool { return t.streams[key] == nil })
}

// begin notes a connection, unless there are too many or none is taken any more.
func (s *streams) begin(x *streamed, most int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || int64(len(s.open)) >= most {
		return false
	}
	s.open[x] = struct{}{}
	x.st.counts.total.Add(1)
	x.st.counts.open.Add(1)
	return true
}

// connected notes that both sides of a connection are there.
func (s *streams) connected(x *streamed, p *stream.Pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.pipe = p
}

func (s *streams) finish(x *streamed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, x)
	c := x.st.counts
	c.open.Add(-1)
	if x.pipe != nil {
		c.received.Add(x.pipe.Received.Load())
		c.sent.Add(x.pipe.Sent.Load())
	}
}

// listen notes a socket of UDP, unless the server ends.
func (s *streams) listen(c *stream.Sessions) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.sockets[c] = struct{}{}
	return true
}

// unlisten forgets a socket and ends its sessions, as when its stream is taken away. Of one that drains they go on.
func (s *streams) unlisten(c *stream.Sessions) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return nil
	}
	delete(s.sockets, c)
	s.mu.Unlock()
	return c.Close()
}

// drain stops reading datagrams, and waits until all connections and sessions are over.
func (s *streams) drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for c := range s.sockets {
		c.Stop()
	}
	s.mu.Unlock()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.busy() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *streams) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) > 0 {
		return true
	}
	for c := range s.sockets {
		if c.Busy() {
			return true
		}
	}
	return false
}

// close ends everything at once.
func (s *streams) close() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for x := range s.open {
		x.raw.Close()
	}
	for c := range s.sockets {
		c.Close()
	}
}

// StreamStatus is how a stream is. Refused were turned away, Failed found no back end; the bytes are those from clients and to
// them.
type StreamStatus struct {
	Stream   string `json:"stream"`
	Open     int64  `json:"open"`
	Total    int64  `json:"total"`
	Refused  int64  `json:"refused"`
	Failed   int64  `json:"failed"`
	Received int64  `json:"received"`
	Sent     int64  `json:"sent"`
}

// Streams says how all streams are.
func (s *Server) Streams() []StreamStatus {
	t := s.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []StreamStatus
	for _, key := range slices.Sorted(maps.Keys(t.counts)) {
		c := t.counts[key]
		out = append(out, StreamStatus{key, c.open.Load(), c.total.Load(), c.refused.Load(), c.failed.Load(), c.received.Load(), c.sent.Load()})
	}
	for x := range t.open {
		if x.pipe == nil {
			continue
		}
		if i, ok := slices.BinarySearchFunc(out, x.st.key, func(a StreamStatus, key string) int {
			return strings.Compare(a.Stream, key)
		}); ok && t.counts[x.st.key] == x.st.counts {
			out[i].Received += x.pipe.Received.Load()
			out[i].Sent += x.pipe.Sent.Load()
		}
	}
	return out
}

// streamSamples are the counts of streams for a scrape.
func (s *Server) streamSamples() []metrics.Sample {
	var out []metrics.Sample
	for _, st := range s.Streams() {
		for _, c := range []struct {
			name, help string
			v          int64
		}{
			{"stream_connections", "Connections and UDP sessions of a stream that are open now.", st.Open},
			{"stream_connections_total", "Connections and UDP sessions of a stream.", st.Total},
			{"stream_refused_total", "What a stream turned away.", st.Refused},
			{"stream_failed_total", "Connections of a stream that found no back end.", st.Failed},
			{"stream_received_bytes_total", "Bytes from clients of a stream.", st.Received},
			{"stream_sent_bytes_total", "Bytes to clients of a stream.", st.Sent},
		} {
			out = append(out, metrics.Sample{Name: "proxy_" + c.name, Help: c.help, Labels: []metrics.Label{{Name: "stream", Value: st.Stream}}, Value: float64(c.v)})
		}
	}
	return out
}
