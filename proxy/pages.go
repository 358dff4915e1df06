package proxy

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/page"
)

// loadPages reads the pages of a table, and says everything that is wrong with them.
func (t *Table) loadPages(roots []string) error {
	l := page.Loader{Roots: roots}
	var e field.Errors
	var err error
	t.pages, err = l.Load(t.cfg.Pages)
	e.Join("pages", err)
	for i := range t.cfg.Routes {
		r := t.routes[i] // Compile has made one for each
		r.pages, err = l.Load(r.Pages)
		e.Join(field.Index("routes", i)+".pages", err)
	}
	return e.Err()
}

// keptOnIntercept are headers of a back end that say more than what its body is: how to log in, when to come again, what
// can be done, and what the client is to remember.
var keptOnIntercept = []string{"Www-Authenticate", "Retry-After", "Allow", "Set-Cookie"}

// intercept answers with a page where the back end has answered with an error. The error is still the back end's: it counts as
// its own in logs and strikes.
func (o *forwarding) intercept(status int) {
	for name := range o.Into {
		if !slices.Contains(keptOnIntercept, http.CanonicalHeaderKey(name)) {
			delete(o.Into, name)
		}
	}
	o.x.showError(o.out, status)
}

// pagesAt gives the pages of a route by its key, of the proxy for "", and the route.
func (c *Config) pagesAt(route string) (*page.Config, *Route) {
	if route == "" {
		return &c.Pages, nil
	}
	if i := c.find(route); i >= 0 {
		return &c.Routes[i].Pages, &c.Routes[i]
	}
	return nil, nil
}

// SetPage sets the forms of a page that p has; others stay. The route is a key, or "" for all. With intercept the route's back
// end is not asked for its own page of that status any more. It reports whether there is such a route.
func (c *Config) SetPage(route, name string, p page.Page, intercept bool) bool {
	pages, r := c.pagesAt(route)
	if pages == nil {
		return false
	}
	if *pages == nil {
		*pages = page.Config{}
	}
	have := (*pages)[name]
	(*pages)[name] = page.Page{HTML: cmp.Or(p.HTML, have.HTML), JSON: cmp.Or(p.JSON, have.JSON), Text: cmp.Or(p.Text, have.Text)}
	if r != nil && intercept && !slices.Contains(r.Intercept, name) {
		r.Intercept = append(r.Intercept, name)
	}
	return true
}

// RemovePage removes a page, and what SetPage made of the answers of the back end. It reports whether there was one.
func (c *Config) RemovePage(route, name string) bool {
	pages, r := c.pagesAt(route)
	if pages == nil {
		return false
	}
	if _, there := (*pages)[name]; !there {
		return false
	}
	if delete(*pages, name); len(*pages) == 0 {
		*pages = nil
	}
	if r != nil {
		r.Intercept = slices.DeleteFunc(r.Intercept, func(s string) bool { return s == name })
	}
	return true
}
