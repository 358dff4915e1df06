package limits

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/platformd/platformd/ratelimit"
)

// The kinds of strikes.
const (
	ReasonAuth   = "http-auth"   // passwords or tokens that were refused
	ReasonScan   = "http-scan"   // pages that only scanners want, or many that there are not
	ReasonLimit  = "http-limit"  // more and more requests after being turned away
	ReasonAttack = "http-attack" // what the web application firewall refused
)

// Reasons are all kinds.
func Reasons() []string { return []string{ReasonAuth, ReasonScan, ReasonLimit, ReasonAttack} }

// Strike is something that a client did, with the evidence. What it may hold of a request has neither query nor body.
type Strike struct {
	Client netip.Addr `json:"client"`
	Reason string     `json:"reason"`
	Detail string     `json:"detail"`
}

// Exchange is a request with its answer.
type Exchange struct {
	Client             netip.Addr
	Method, Host, Path string
	Status             int
	// Credentials is set where the request brought a password or a token.
	Credentials bool
	// Refused is why the proxy itself turned the request away, "" where the status is somebody else's.
	Refused string
	// Attack is set where the web application firewall refused it, Flood where Verdict.Strike was set.
	Attack, Flood bool
}

// What an honest client may bring about, for each reason: typing a password wrong, following old links. Beyond it each
// further one is a strike. A password that is never right is a strike from the sixth on, and one a minute after that.
var (
	mayFail = newBucket(ratelimit.Limit{Rate: 1, Per: time.Minute, Burst: 5}, 0)
	mayMiss = newBucket(ratelimit.Limit{Rate: 30, Per: time.Minute}, 0)
	// mayStrike bounds how often one client is reported.
	mayStrike = newBucket(ratelimit.Limit{Rate: 2, Per: time.Second, Burst: 10}, 0)
)

// scopes of failures.
const (
	scopeAuth = scopeFailures*kinds + iota
	scopeMiss
	scopeBusy
	scopeStrike
)

// Observe looks at an answer and says whether it makes a strike.
func (l *Limiter) Observe(x Exchange) (Strike, bool) {
	reason := ""
	switch {
	case x.Flood:
		reason = ReasonLimit
	case x.Attack:
		reason = ReasonAttack
	case x.Status < 400 || x.Status > 499:
	case x.Status == http.StatusUnauthorized && (x.Credentials || x.Method == http.MethodPost),
		x.Status == http.StatusForbidden && x.Refused == "" && (x.Credentials || x.Method == http.MethodPost):
		if l.beyond(x.Client, scopeAuth, &mayFail) {
			reason = ReasonAuth
		}
	case x.Status == http.StatusNotFound, x.Status == http.StatusForbidden && x.Refused == "":
		if bait(x.Path) || l.beyond(x.Client, scopeMiss, &mayMiss) {
			reason = ReasonScan
		}
	case x.Status == http.StatusTooManyRequests && x.Refused == "": // a limit of the back end's own
		if l.beyond(x.Client, scopeBusy, &mayMiss) {
			reason = ReasonLimit
		}
	}
	if reason == "" || l.beyond(x.Client, scopeStrike, &mayStrike) {
		return Strike{}, false
	}
	l.counts.strikes.Add(1)
	return Strike{Client: x.Client, Reason: reason, Detail: x.evidence()}, true
}

// beyond counts something of a source and reports whether it is more than allowed.
func (l *Limiter) beyond(a netip.Addr, scope uint32, b *bucket) bool {
	return !l.table.admit(sourceKey(a, scope), b, l.moment(), l).admitted
}

// evidence is a line for people.
func (x *Exchange) evidence() string {
	const most = 120
	path := x.Path
	if len(path) > most {
		path = path[:most] + "..."
	}
	s := x.Method + " " + x.Host + path + " " + strconv.Itoa(x.Status)
	if x.Refused != "" {
		s += ": " + x.Refused
	}
	return s
}

// baits are beginnings of paths that only scanners ask for. They count only where there is nothing.
var baits = []string{"/.env", "/.git/", "/.svn/", "/.hg/", "/.aws/", "/.ssh/", "/.docker/", "/.vscode/", "/.htpasswd", "/.ds_store",
	"/wp-login.php", "/wp-admin", "/wp-includes/", "/wp-content/plugins/", "/wordpress/wp-", "/xmlrpc.php",
	"/phpmyadmin", "/pma/", "/phpinfo", "/info.php", "/shell.php", "/vendor/phpunit", "/cgi-bin/", "/hnap1", "/boaform", "/gponform", "/setup.cgi",
	"/actuator", "/solr/admin", "/jenkins/script", "/manager/html", "/server-status", "/_ignition", "/telescope/requests", "/owa/auth", "/ecp/",
	"/autodiscover/autodiscover.json", "/remote/fgt_lang", "/dana-na/", "/geoserver/web", "/druid/index", "/nacos/v1", "/sdk/weblanguage"}

func bait(path string) bool {
	path = strings.ToLower(path)
	return slices.ContainsFunc(baits, func(b string) bool { return strings.HasPrefix(path, b) })
}
