// Package coraza runs the OWASP core rule set on requests with the Coraza engine (proxy/waf).
//
// The model in words. An engine is made of a configuration once, which takes a tenth of a second and about 12 MiB,
// and is kept while it is asked for: routes with the same configuration share it, and a reload makes none anew.
// The rules of responses are left out. Bodies are looked at in memory; only the files of a form go through a folder of our
// own while they are looked at, because the engine knows no other way. Rules come with the program and are never fetched.
//
// It decides about one request at a time and keeps nothing of it. Its types stay in this package.
package coraza

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	engine "github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/platformd/platformd/proxy/waf"
)

// Loader makes engines. It is safe for concurrent use.
type Loader struct {
	dir  string
	mu   sync.Mutex
	made map[string]*rules
}

// maxEngines bounds how many are kept; a document with more different configurations makes them anew at each reload.
const maxEngines = 8

// New makes a Loader. Files of forms are written below dir while they are looked at. The engine insists on a folder for
// temporary files besides, os.TempDir, that it can write to, and then writes nothing there.
func New(dir string) *Loader { return &Loader{dir: dir, made: map[string]*rules{}} }

// Load implements waf.Loader.
func (l *Loader) Load(c waf.Config) (waf.Engine, error) {
	c = c.Defaults()
	text := directives(c, l.dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.made[text]; e != nil {
		return e, nil
	}
	w, err := engine.NewWAF(engine.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(text))
	if err != nil {
		return nil, fmt.Errorf("load core rule set: %w", err)
	}
	if len(l.made) >= maxEngines {
		clear(l.made)
	}
	e := &rules{w}
	l.made[text] = e
	return e, nil
}

// methods are those of applications and of WebDAV; which of them a route takes is for the route to say.
const methods = "GET HEAD POST OPTIONS PUT PATCH DELETE PROPFIND PROPPATCH MKCOL MKCALENDAR COPY MOVE LOCK UNLOCK REPORT SEARCH"

// directives is a configuration as the engine reads it. What it holds of c are numbers.
func directives(c waf.Config, dir string) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("Include @coraza.conf-recommended")
	say("SecRuleEngine On") // whether it counts is the route's to say
	say("SecAuditEngine Off")
	say("SecResponseBodyAccess Off")
	say("SecRequestBodyLimit %d", c.BodyLimit)
	say("SecRequestBodyInMemoryLimit %d", c.BodyLimit)
	say("SecRequestBodyLimitAction Reject")
	if dir != "" {
		say("SecUploadDir %s", dir)
	}
	say("Include @crs-setup.conf.example")
	say(`SecAction "id:1,phase:1,pass,nolog,t:none,setvar:tx.blocking_paranoia_level=%d,setvar:tx.detection_paranoia_level=%d,setvar:tx.inbound_anomaly_score_threshold=%d,setvar:'tx.allowed_methods=%s'"`,
		c.Paranoia, c.Paranoia, c.Threshold, methods)
	say("Include @owasp_crs/REQUEST-*.conf")
	for _, id := range c.Skip {
		say("SecRuleRemoveById %d", id)
	}
	return b.String()
}

// rules is an engine that was made.
type rules struct{ waf engine.WAF }

// Inspect implements waf.Engine.
func (e *rules) Inspect(r *waf.Request) (waf.Finding, error) {
	tx := e.waf.NewTransaction()
	stopped, err := run(tx, r)
	found := findings(tx)
	found.Refused = stopped != nil
	if stopped != nil && len(found.Rules) == 0 {
		found.Rules = []int{stopped.RuleID}
	}
	tx.ProcessLogging()
	if e := tx.Close(); err == nil && e != nil {
		err = e
	}
	if err != nil {
		return found, fmt.Errorf("inspect request: %w", err)
	}
	return found, nil
}

func run(tx types.Transaction, r *waf.Request) (*types.Interruption, error) {
	tx.ProcessConnection(r.Client.String(), 0, "", int(r.Port))
	tx.SetServerName(host(r.Host))
	tx.ProcessURI(r.URL.RequestURI(), r.Method, r.Proto)
	tx.AddRequestHeader("Host", r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			tx.AddRequestHeader(name, v)
		}
	}
	// The HTTP server takes these out of the head.
	if r.ContentLength > 0 && r.Header["Content-Length"] == nil {
		tx.AddRequestHeader("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	for _, v := range r.TransferEncoding {
		tx.AddRequestHeader("Transfer-Encoding", v)
	}
	if stopped := tx.ProcessRequestHeaders(); stopped != nil {
		return stopped, nil
	}
	if len(r.Body) > 0 && tx.IsRequestBodyAccessible() {
		if stopped, _, err := tx.WriteRequestBody(r.Body); stopped != nil || err != nil {
			return stopped, err
		}
	}
	return tx.ProcessRequestBody()
}

func host(h string) string {
	if name, _, err := net.SplitHostPort(h); err == nil {
		return name
	}
	return h
}

// findings are the rules that matched, without those that only count or set something.
func findings(tx types.Transaction) waf.Finding {
	var f waf.Finding
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		if m.Message() == "" || id >= 901_000 && id < 902_000 || id >= 949_000 && id < 950_000 || id >= 980_000 && id < 981_000 || slices.Contains(f.Rules, id) {
			continue
		}
		if f.Rules = append(f.Rules, id); f.Message == "" {
			f.Message = m.Message()
		}
	}
	return f
}
