package proxy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/upstream"
	"github.com/platformd/platformd/ratelimit"
)

// Stream passes what comes on a port of TCP or UDP to back ends, whatever it says.
type Stream struct {
	Port int `json:"port"`
	// Protocol is tcp (the default) or udp. A port has one stream of each.
	Protocol string `json:"protocol,omitempty"`
	// Addresses of this host to listen on; empty is all of them, IPv4 and IPv6.
	Addresses []string `json:"addresses,omitempty"`
	// Mode is plain (the default), tls, which ends TLS here, or passthrough, which looks at the server name in it alone.
	Mode string `json:"mode,omitempty"`
	// Backend is where connections go. With names it is for those of them that have none of their own; with passthrough it is
	// for clients that ask for another name, or for none, who are turned away without it.
	Backend *upstream.Group `json:"backend,omitempty"`
	// Names are the servers that clients of TLS may ask for. With tls they get certificates, as those of routes do; others are
	// turned away, and who names none gets the first.
	Names []StreamName `json:"names,omitempty"`
	// ALPN are protocols that are offered in TLS, the best first; empty is none.
	ALPN []string `json:"alpn,omitempty"`
	// ClientAuth asks clients of tls for a certificate.
	ClientAuth *ClientAuth `json:"client_auth,omitempty"`

	// Deny is looked at before Allow, and an empty Allow is everybody. Both are addresses or CIDR.
	Allow     []string       `json:"allow,omitempty"`
	Deny      []string       `json:"deny,omitempty"`
	Countries *Countries     `json:"countries,omitempty"`
	Limits    StreamLimits   `json:"limits,omitzero"`
	Timeouts  StreamTimeouts `json:"timeouts,omitzero"`
	// AcceptProxyProtocol makes connections from trusted proxies begin with a PROXY protocol header, as proxy_protocol does for
	// HTTP.
	AcceptProxyProtocol bool `json:"accept_proxy_protocol,omitempty"`
	// Firewall opens the port to everybody; "off" leaves that to firewall.ports. A port that is in there is left as it is.
	Firewall Switch `json:"firewall,omitempty"`
}

// StreamName is a server that clients of TLS ask for.
type StreamName struct {
	// Name is a name, or a wildcard for one label ("*.example.org").
	Name string `json:"name"`
	// Backend is where its connections go; without it that of the stream.
	Backend *upstream.Group `json:"backend,omitempty"`
}

// StreamLimits are what clients of a stream may do: connections of TCP, sessions of UDP. The concurrent part bounds what is open
// at once.
type StreamLimits struct {
	// Client is for each client (an IPv4 address or an IPv6 /64); default "100/s burst 200 concurrent 256", "off" is none.
	Client *ratelimit.Limit `json:"client,omitempty"`
	// Subnet is for each network (an IPv4 /24 or an IPv6 /48); by default there is none.
	Subnet *ratelimit.Limit `json:"subnet,omitempty"`
	// Total is for all clients together; default "concurrent 10000". Of UDP the session that was used longest ago makes room.
	Total *ratelimit.Limit `json:"total,omitempty"`
}

// StreamTimeouts bound how long a client may take. A zero field means its default.
type StreamTimeouts struct {
	// Handshake is for TLS, for the name in it, and for a PROXY header; default 15s.
	Handshake field.Duration `json:"handshake,omitempty"`
	// First is for the first byte of a client; by default it may wait for the back end to speak first, until Idle.
	First field.Duration `json:"first,omitempty"`
	// Idle is how long nothing may move in either direction; default 10m, and 1m for UDP.
	Idle field.Duration `json:"idle,omitempty"`
}

// The protocols and modes of streams.
const (
	StreamTCP         = "tcp"
	StreamUDP         = "udp"
	streamPlain       = "plain"
	StreamTLS         = "tls"
	StreamPassthrough = "passthrough"
)

// Bounds of a configuration.
const (
	maxStreamNames   = 1000
	MaxStreamSockets = 200 // which pass from process to process in one message
)

// Key names a stream: "5432/tcp".
func (s *Stream) Key() string { return streamKey(s.Port, s.protocol()) }

func streamKey(port int, protocol string) string { return strconv.Itoa(port) + "/" + protocol }

func (s *Stream) protocol() string { return cmp.Or(s.Protocol, StreamTCP) }

// UDP reports whether it is a stream of datagrams.
func (s *Stream) UDP() bool { return s.Protocol == StreamUDP }

func (s *Stream) mode() string { return cmp.Or(s.Mode, streamPlain) }

// Listen are the addresses to listen on, as net.Listen takes them.
func (s *Stream) Listen() []string {
	if len(s.Addresses) == 0 {
		return []string{":" + strconv.Itoa(s.Port)}
	}
	var out []string
	for _, a := range s.Addresses {
		if strings.Contains(a, ":") {
			a = "[" + a + "]"
		}
		out = append(out, a+":"+strconv.Itoa(s.Port))
	}
	return out
}

// AddStream adds a stream, or puts it in the place of one on the same port.
func (c *Config) AddStream(s Stream) {
	if i := c.findStream(s.Key()); i >= 0 {
		c.Streams[i] = s
		return
	}
	c.Streams = append(c.Streams, s)
}

// RemoveStream removes the stream of that key and reports whether there was one.
func (c *Config) RemoveStream(key string) bool {
	i := c.findStream(key)
	if i < 0 {
		return false
	}
	c.Streams = slices.Delete(c.Streams, i, i+1)
	return true
}

// Stream finds a stream by its key, as AddStream and RemoveStream do.
func (c *Config) Stream(key string) (Stream, bool) {
	if i := c.findStream(key); i >= 0 {
		return c.Streams[i], true
	}
	return Stream{}, false
}

// findStream gives the position of a stream; "5432" is "5432/tcp".
func (c *Config) findStream(key string) int {
	if !strings.Contains(key, "/") {
		key += "/" + StreamTCP
	}
	return slices.IndexFunc(c.Streams, func(s Stream) bool { return s.Key() == key })
}

// StreamNames are the names for which TLS of streams ends here, each once.
func (c *Config) StreamNames() []string {
	var out []string
	for i := range c.Streams {
		if c.Streams[i].mode() == StreamTLS {
			for _, n := range c.Streams[i].Names {
				out = append(out, n.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// config is the same for the limiter. Of UDP the bound of all sessions is not its to keep.
func (l StreamLimits) config(udp bool) limits.Config {
	none := field.Duration(0)
	c := limits.Config{Requests: l.Client, Subnet: l.Subnet, Total: &ratelimit.Limit{Concurrent: defaultStreamTotal}, Delay: &none}
	if c.Requests == nil {
		c.Requests = &ratelimit.Limit{Rate: 100, Per: time.Second, Burst: 200, Concurrent: 256}
	}
	if l.Total != nil {
		c.Total = l.Total
	}
	if udp {
		t := *c.Total
		t.Concurrent = 0
		c.Total = &t
	}
	return c
}

const (
	defaultStreamTotal = 10_000
	maxSessions        = 100_000
	defaultStreamIdle  = 10 * time.Minute
	defaultUDPIdle     = time.Minute
)

// sessions is how many there may be of UDP.
func (l StreamLimits) sessions() int {
	if l.Total == nil {
		return defaultStreamTotal
	}
	if l.Total.Concurrent == 0 {
		return maxSessions
	}
	return min(l.Total.Concurrent, maxSessions)
}
