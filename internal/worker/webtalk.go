package worker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/platformd/platformd/proxy"
)

// What the daemon and the proxy worker say to each other over their link. The worker is told everything by the daemon, and
// what it says itself is hostile input.
const (
	// The daemon asks.
	webConfigure  = "configure"   // a proxy.Config; answered when it is in force
	webTest       = "test"        // a proxy.Config; nothing changes
	webChallenges = "challenges"  // Challenges, all there are
	webRefresh    = "refresh"     // names whose certificates have changed
	webPing       = "ping"        // answered at once
	webDrain      = "drain"       // WebDrain; answered at once
	webStatus     = "status"      // answered with WebStatus
	webUpstreams  = "upstreams"   // the name of a group, "" for all; answered with []upstream.Status, at most maxStatuses
	webPurge      = "purge"       // what to drop from the caches; answered with how much it was
	webKeys       = "keys"        // proxy.Keys
	webOldKeys    = "old-keys"    // answered with the proxy.Keys that came last: a daemon keeps them in memory alone, and so does the next
	webLimits     = "limits"      // where a part begins; answered with limits.Snapshot
	webTakeLimits = "take-limits" // limits.Snapshot of another worker
	// The worker asks.
	webCertificate = "certificate" // a name; answered with WebPair
	webStrike      = "strike"      // a note: limits.Strike
	webCounts      = "counts"      // answered with []metrics.Sample: what the host counts, for who scrapes the proxy
)

// Bounds of what passes over the link.
const (
	maxFromDaemon = 64 << 20
	maxFromWorker = 1 << 20
)

// WebPair is a certificate chain and its key, in PEM.
type WebPair struct {
	// For is the name or wildcard that it was made for; "" is a certificate for all names that nobody has a route for.
	For   string `json:"for"`
	Chain []byte `json:"chain"`
	Key   []byte `json:"key"`
	// Staple is the answer of an OCSP responder, where there is one.
	Staple []byte `json:"staple,omitempty"`
}

// Challenges are the answers that certificate authorities look for.
type Challenges struct {
	Tokens map[string]string  `json:"tokens,omitempty"` // HTTP-01: token to key authorization
	ALPN   map[string]WebPair `json:"alpn,omitempty"`   // TLS-ALPN-01: name to certificate
}

// WebDrain says how a worker ends.
type WebDrain struct {
	Idle  time.Duration `json:"idle"`  // how long connections without a request are kept
	Grace time.Duration `json:"grace"` // how long requests may take
}

// WebStatus is what a worker says of itself.
type WebStatus struct {
	Serving     bool  `json:"serving"`
	Connections int64 `json:"connections"`
	Dropped     int64 `json:"dropped_log_records"`
	// DroppedStrikes were too many, or came while there was no daemon.
	DroppedStrikes int64                `json:"dropped_strikes"`
	Weak           []string             `json:"weak,omitempty"`
	Stats          proxy.Statistics     `json:"stats"`
	Streams        []proxy.StreamStatus `json:"streams,omitempty"`
}

// load makes a certificate of a pair.
func (p WebPair) load() (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(p.Chain, p.Key)
	if err != nil {
		return nil, errors.New("certificate and key do not fit") // the cause may quote the key
	}
	c.OCSPStaple = p.Staple
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
	}
	return &c, nil
}
