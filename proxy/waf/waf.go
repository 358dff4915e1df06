// Package waf says what a firewall for web applications is to the proxy: how a route asks for one, and what it answers. The
// rules and the engine that runs them are a driver's (proxy/waf/coraza), so that whoever only reads a document needs
// neither.
//
// The model in words. A request is looked at as a whole, head and body, before the back end sees any of it. Rules that match
// add up to a score; at the threshold the request is refused, or only noted where the mode is detect. Responses are
// not looked at. A body that is longer than what is looked at is refused, because an attack could stand behind it.
package waf

import (
	"net/http"
	"net/netip"

	"github.com/platformd/platformd/proxy/field"
)

// The modes.
const (
	Off    = "off"
	Detect = "detect" // notes what it would refuse
	Block  = "block"
)

// Config is how a route is protected.
type Config struct {
	// Mode is off, detect or block; without it, block.
	Mode string `json:"mode,omitempty"`
	// Paranoia is which rules there are: 1, the default, is for everybody, up to 4, which mistakes much for an attack.
	Paranoia int `json:"paranoia,omitempty"`
	// Threshold is the score at which a request is refused; default 5, which one critical rule has.
	Threshold int `json:"threshold,omitempty"`
	// BodyLimit is how many bytes of a body are looked at, and with that how many may come; default 1 MiB, at most 16 MiB.
	BodyLimit int64 `json:"body_limit,omitempty"`
	// Skip are numbers of rules that are left out, because the application means what they take for an attack.
	Skip []int `json:"skip,omitempty"`
}

// Defaults is c with every zero field filled in.
func (c Config) Defaults() Config {
	if c.Mode == "" {
		c.Mode = Block
	}
	if c.Paranoia == 0 {
		c.Paranoia = 1
	}
	if c.Threshold == 0 {
		c.Threshold = 5
	}
	if c.BodyLimit == 0 {
		c.BodyLimit = 1 << 20
	}
	return c
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var e field.Errors
	if c.Mode != "" && c.Mode != Off && c.Mode != Detect && c.Mode != Block {
		e.Add("mode", "%q must be off, detect or block", c.Mode)
	}
	if c.Paranoia < 0 || c.Paranoia > 4 {
		e.Add("paranoia", "%d must be between 1 and 4", c.Paranoia)
	}
	if c.Threshold < 0 || c.Threshold > 1000 {
		e.Add("threshold", "%d must be between 1 and 1000", c.Threshold)
	}
	if c.BodyLimit < 0 || c.BodyLimit > 16<<20 {
		e.Add("body_limit", "%d must be between 1 and %d bytes", c.BodyLimit, 16<<20)
	}
	if len(c.Skip) > 100 {
		e.Add("skip", "%d are too many; at most 100", len(c.Skip))
	}
	for i, id := range c.Skip {
		if id < 1 || id > 999_999_999 {
			e.Add(field.Index("skip", i), "%d is not the number of a rule; the access log names those that matched, for example 942100", id)
		}
	}
	return e.Err()
}

// Request is what is looked at.
type Request struct {
	*http.Request // its URL in normal form; the body is not read
	Client        netip.Addr
	Port          uint16 // that the client reached
	Body          []byte
}

// Finding is what was found.
type Finding struct {
	// Refused is set where the score is reached, whatever the mode.
	Refused bool
	// Rules are the numbers of those that matched, without those that only count; Message is what the first of them says.
	Rules   []int
	Message string
}

// Engine looks at requests. It is safe for concurrent use.
type Engine interface {
	Inspect(*Request) (Finding, error)
}

// Loader makes engines. It may give the same for the same Config.
type Loader interface {
	Load(Config) (Engine, error)
}
