package proxy

import (
	"sync/atomic"

	"github.com/platformd/platformd/proxy/limits"
)

// Statistics are counts since the server was made.
type Statistics struct {
	Requests int64 `json:"requests"`
	// ByClass counts answers by the first digit of their status: 1xx to 5xx are at 1 to 5, what was cut off at 0.
	ByClass [6]int64 `json:"by_class"`
	// Refused counts what the proxy itself turned away.
	Refused int64 `json:"refused"`
	// Blocked counts what was refused for its address, its country or an attack in it, FailedAuth what was answered 401, or
	// 403 though it brought a password or a token.
	Blocked    int64 `json:"blocked"`
	FailedAuth int64 `json:"failed_auth"`
	// Limits are those of clients and of all together.
	Limits limits.Statistics `json:"limits"`
}

type statistics struct {
	requests, refused, blocked, failedAuth atomic.Int64
	byClass                                [6]atomic.Int64
}

func (s *statistics) count(status int, refused bool) {
	s.requests.Add(1)
	class := status / 100
	if class < 0 || class > 5 {
		class = 0
	}
	s.byClass[class].Add(1)
	if refused {
		s.refused.Add(1)
	}
}

// Statistics are the counts of now.
func (s *Server) Statistics() Statistics {
	out := Statistics{Requests: s.stats.requests.Load(), Refused: s.stats.refused.Load(), Blocked: s.stats.blocked.Load(), FailedAuth: s.stats.failedAuth.Load(),
		Limits: s.limits.Statistics()}
	for i := range out.ByClass {
		out.ByClass[i] = s.stats.byClass[i].Load()
	}
	return out
}

// Connections is how many clients are connected by TCP.
func (s *Server) Connections() int64 { return s.open.Load() }

// Events is how many requests and handshakes there were since the server was made. It costs nothing to ask.
func (s *Server) Events() int64 {
	c := &s.counters
	return s.stats.requests.Load() + c.shaken.Load() + c.resumed.Load() + c.unshaken.Load() + c.quic.Load()
}
