package limits

import (
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/ratelimit"
)

// Config is what clients may ask for: of one route, or of the proxy as a whole. The zero value limits nothing on a route; the
// proxy as a whole has the defaults of Defaults.
type Config struct {
	// Requests is for each client (an IPv4 address or an IPv6 /64): "100/s burst 200 concurrent 20", or "off".
	Requests *ratelimit.Limit `json:"requests,omitempty"`
	// RequestsPerMinute is another way to write Requests: 60 is "60/m".
	RequestsPerMinute int `json:"requests_per_minute,omitempty"`
	// Subnet is for each network (an IPv4 /24 or an IPv6 /48).
	Subnet *ratelimit.Limit `json:"subnet,omitempty"`
	// Total is for all clients together.
	Total *ratelimit.Limit `json:"total,omitempty"`
	// Login is for each client where passwords are sent. That of a route takes the place of that of the proxy.
	Login *Login `json:"login,omitempty"`
	// Delay is how long a request that is early may be held back before it is turned away; default 1s, "0s" is not at all.
	Delay *field.Duration `json:"delay,omitempty"`
}

// Login is the limit of requests that send a password, which are those with method POST to one of some paths.
type Login struct {
	// Limit is by default "10/s"; "off" is none.
	Limit *ratelimit.Limit `json:"limit,omitempty"`
	// Paths are whole paths, in which * stands for any text. Without any they are those whose last segment is a common
	// name for such a page: login, signin, wp-login.php and others.
	Paths []string `json:"paths,omitempty"`
}

const (
	maxDelay     = 10 * time.Second
	defaultDelay = time.Second
	maxPaths     = 100
)

// Defaults is c with what holds for the proxy as a whole where c says nothing.
func (c Config) Defaults() Config {
	if c.Requests == nil && c.RequestsPerMinute == 0 {
		c.Requests = &ratelimit.Limit{Rate: 5000, Per: time.Second}
	}
	if c.Total == nil {
		c.Total = &ratelimit.Limit{Concurrent: 20_000}
	}
	if c.Login == nil {
		c.Login = &Login{}
	}
	return c
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var e field.Errors
	if c.RequestsPerMinute < 0 || c.RequestsPerMinute > ratelimit.MaxEvents {
		e.Add("requests_per_minute", "%d must be between 0 and %d", c.RequestsPerMinute, ratelimit.MaxEvents)
	}
	if c.RequestsPerMinute != 0 && c.Requests != nil {
		e.Add("requests_per_minute", "is another way to write requests; leave one of them out")
	}
	for _, l := range []struct {
		at    string
		limit *ratelimit.Limit
	}{{"requests", c.Requests}, {"subnet", c.Subnet}, {"total", c.Total}} {
		if l.limit != nil {
			e.Join(l.at, l.limit.Validate())
		}
	}
	if d := c.Delay; d != nil && (*d < 0 || time.Duration(*d) > maxDelay) {
		e.Add("delay", "%v must be between 0s and %v", *d, maxDelay)
	}
	if c.Login != nil {
		e.Join("login", c.Login.validate())
	}
	return e.Err()
}

func (l *Login) validate() error {
	var e field.Errors
	if l.Limit != nil {
		e.Join("limit", l.Limit.Validate())
	}
	if len(l.Paths) > maxPaths {
		e.Add("paths", "%d are too many; at most %d, and * stands for any text", len(l.Paths), maxPaths)
	}
	for i, p := range l.Paths {
		if !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "*") || len(p) > 1000 || strings.Count(p, "*") > 5 {
			e.Add(field.Index("paths", i), "%q is not a path; write for example /login or */wp-login.php, with at most five *", p)
		}
	}
	return e.Err()
}

// requests is the limit of each client, however it is written.
func (c *Config) requests() ratelimit.Limit {
	if c.Requests != nil {
		return *c.Requests
	}
	return ratelimit.Limit{Rate: c.RequestsPerMinute, Per: time.Minute}
}

func (c *Config) delay() time.Duration {
	if c.Delay == nil {
		return defaultDelay
	}
	return time.Duration(*c.Delay)
}

// loginNames are last segments of paths where passwords are sent.
var loginNames = []string{"login", "log-in", "login.php", "login.html", "login.aspx", "login.jsp", "do_login", "signin", "sign-in", "sign_in", "wp-login.php",
	"xmlrpc.php", "authenticate", "auth", "session", "sessions", "j_security_check", "j_spring_security_check", "password", "reset-password",
	"forgot-password", "password_reset", "lostpassword", "register", "signup", "sign-up", "sign_up", "2fa", "mfa", "totp", "otp"}

// paths are those of a Login, ready to be asked.
type paths struct {
	limit    bucket
	names    map[string]bool // last segments
	patterns []string
}

func (l *Login) compile(delay time.Duration) *paths {
	limit := ratelimit.Limit{Rate: 10, Per: time.Second}
	if l.Limit != nil {
		limit = *l.Limit
	}
	if limit.IsZero() {
		return nil
	}
	p := &paths{limit: newBucket(limit, delay)}
	if len(l.Paths) == 0 {
		p.names = map[string]bool{}
		for _, n := range loginNames {
			p.names[n] = true
		}
		return p
	}
	for _, s := range l.Paths {
		p.patterns = append(p.patterns, strings.ToLower(trimSlash(s)))
	}
	return p
}

// has reports whether a request to path sends a password. Upper and lower case, and a slash at the end, make no difference.
func (p *paths) has(path string) bool {
	path = strings.ToLower(trimSlash(path)) // which allocates only where there is upper case
	if p.names != nil {
		return p.names[path[strings.LastIndexByte(path, '/')+1:]]
	}
	return slices.ContainsFunc(p.patterns, func(pattern string) bool { return match(pattern, path) })
}

func trimSlash(p string) string {
	if len(p) > 1 {
		return strings.TrimSuffix(p, "/")
	}
	return p
}

// match reports whether s is pattern, in which * stands for any text.
func match(pattern, s string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
