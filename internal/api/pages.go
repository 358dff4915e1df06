package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/page"
)

type pageInput struct {
	Options
	Body wire.ProxyPage
}

type pageNames struct {
	Options
	Names []string `query:"name,explode" required:"true" doc:"May be given several times."`
	Route string   `query:"route" doc:"The key of the route that they are for; empty is all."`
}

func (s *server) pageRoutes() {
	route(s, http.MethodGet, "/pages", "list-pages", "Error pages of one's own", func(ctx context.Context, _ *none) ([]wire.ProxyPage, error) {
		st, _, err := s.host.Document(ctx)
		return list(pagesOf(&st.Proxy)), err
	})
	route(s, http.MethodPut, "/pages", "set-page", "Set an error page, or the maintenance page", s.setPage)
	route(s, http.MethodDelete, "/pages", "remove-pages", "Remove error pages", s.removePages)
}

func pagesOf(c *proxy.Config) []wire.ProxyPage {
	var out []wire.ProxyPage
	add := func(route string, pages page.Config, intercept []string) {
		for _, name := range slices.Sorted(maps.Keys(pages)) {
			p := pages[name]
			out = append(out, wire.ProxyPage{Route: route, Name: name, HTML: p.HTML, JSON: p.JSON, Text: p.Text, Intercept: slices.Contains(intercept, name)})
		}
	}
	add("", c.Pages, nil)
	for i := range c.Routes {
		r := &c.Routes[i]
		add(r.Key(), r.Pages, r.Intercept)
	}
	return out
}

func (s *server) setPage(ctx context.Context, in *pageInput) (ChangeResult, error) {
	b := in.Body
	p := page.Page{HTML: b.HTML, JSON: b.JSON, Text: b.Text}
	var errs []error
	if err := (page.Config{b.Name: p}).Validate(); err != nil {
		errs = append(errs, err)
	}
	if b.Intercept && (b.Route == "" || b.Name == page.Maintenance) {
		errs = append(errs, errors.New("intercept: is for a status and for one route; name the route"))
	}
	if err := invalid(errs); err != nil {
		return ChangeResult{}, &objectError{b.Name, err}
	}
	object := cmp.Or(b.Route, "all routes")
	return s.change(ctx, in.Options, wish{action: activity.PageChanged, object: object, summary: fmt.Sprintf("set page %s of %s", b.Name, object), edit: func(st *state.State) error {
		if !st.Proxy.SetPage(b.Route, b.Name, p, b.Intercept) {
			return fmt.Errorf("route %q: %w; platformctl route list shows them", b.Route, ErrNotFound)
		}
		return nil
	}})
}

func (s *server) removePages(ctx context.Context, in *pageNames) (ChangeResult, error) {
	object := cmp.Or(in.Route, "all routes")
	return s.change(ctx, in.Options, wish{action: activity.PageChanged, object: object, summary: fmt.Sprintf("remove page %s of %s", several(in.Names), object), edit: func(st *state.State) error {
		return each(in.Names, func(name string) error {
			if !st.Proxy.RemovePage(in.Route, name) {
				return fmt.Errorf("page %s of %s: %w; platformctl page list shows them", name, object, ErrNotFound)
			}
			return nil
		})
	}})
}
