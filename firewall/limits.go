package firewall

import (
	"time"

	"github.com/platformd/platformd/ratelimit"
)

// LimitClass is a named limit with a default, so that a port or an app says "ssh" instead of numbers.
type LimitClass struct {
	Name        string
	Limit       ratelimit.Limit
	Description string
	// PerApp says that the limit counts all sources of one app together; the class is then for apps and not for ports.
	PerApp bool
	// Sources and AdmitWhenFull: see Meter.
	Sources       int
	AdmitWhenFull bool
}

// DefaultSources is how many sources a meter remembers where its class does not say.
const DefaultSources = 65_536

// DefaultLimits are the limit classes that exist without being configured.
func DefaultLimits() []LimitClass {
	per := func(n int, d time.Duration) ratelimit.Limit { return ratelimit.Limit{Rate: n, Per: d} }
	return []LimitClass{
		{Name: "ssh", Limit: per(5, 10*time.Second), Description: "new SSH connections per source", Sources: DefaultSources},
		{Name: "http", Limit: per(5000, time.Second), Description: "new HTTP and HTTPS connections per source", Sources: 4 * DefaultSources, AdmitWhenFull: true},
		{Name: "mail", Limit: per(50, time.Second), Description: "new connections to the mail ports per source", Sources: DefaultSources, AdmitWhenFull: true},
		{Name: "ping", Limit: ratelimit.Limit{Rate: 10, Per: time.Second, Burst: 20}, Description: "echo requests per source", Sources: DefaultSources},
		{Name: "database", Limit: per(5000, time.Second), Description: "new database connections per app", PerApp: true},
		{Name: "mail-relay", Limit: per(500, time.Second), Description: "new connections to the mail relay per app", PerApp: true},
		{Name: "mail-receive", Limit: per(50, time.Second), Description: "new mail deliveries per app", PerApp: true},
		{Name: "auth", Limit: per(500, time.Second), Description: "new connections to the authentication addon per app", PerApp: true},
	}
}

// limitClass gives the class with what the policy overrides. ok is false where neither a default nor the policy has it.
func (p *Policy) limitClass(name string) (LimitClass, bool) {
	own, overridden := p.Limits[name]
	for _, c := range DefaultLimits() {
		if c.Name == name {
			if overridden {
				c.Limit = own
			}
			return c, true
		}
	}
	return LimitClass{Name: name, Limit: own, Sources: DefaultSources}, overridden
}

// LimitClasses lists the default classes with what the policy overrides, then the policy's own, by name.
func (p *Policy) LimitClasses() []LimitClass {
	var out []LimitClass
	known := map[string]bool{}
	for _, c := range DefaultLimits() {
		known[c.Name] = true
		c, _ = p.limitClass(c.Name)
		out = append(out, c)
	}
	for _, name := range sortedKeys(p.Limits) {
		if !known[name] {
			c, _ := p.limitClass(name)
			out = append(out, c)
		}
	}
	return out
}
