package main

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy/page"
)

func newPageCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the pages", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runPageList(cmd.Context()) }}
	c := noun("page", "Error pages of your own, and the maintenance page", list, newPageSetCommand(a), newPageRemoveCommand(a))
	c.Long = `Error pages of your own, and the maintenance page. A page is for a status (404), for a class (4xx, 5xx) or for maintenance; one of
a route comes before one of all. It has up to three forms, of which a client gets the one that it asks for.

$status, $title, $host and $request_id are filled in. What a back end answers is left as it is, unless --intercept says otherwise.`
	return c
}

func (a *app) runPageList(ctx context.Context) error {
	pages, err := a.client().Pages(ctx)
	if err != nil {
		return err
	}
	return a.show(pages, func() {
		if len(pages) == 0 {
			a.printf("there is no page of your own; set one with: platformctl page set 404 404.html\n")
			return
		}
		t := newTable("PAGE", "ROUTE", "FORMS", "NOTES")
		for _, p := range pages {
			notes := ""
			if p.Intercept {
				notes = "also for the back end's"
			}
			t.row(p.Name, cmp.Or(p.Route, "all"), strings.Join(formsOf(p), ", "), notes)
		}
		a.print(t)
	})
}

func formsOf(p wire.ProxyPage) []string {
	var out []string
	for _, f := range [][2]string{{"html", p.HTML}, {"json", p.JSON}, {"text", p.Text}} {
		switch path, isFile := strings.CutPrefix(f[1], "file://"); {
		case isFile:
			out = append(out, f[0]+" ("+path+")")
		case f[1] != "":
			out = append(out, f[0])
		}
	}
	return out
}

type pageSetOptions struct {
	changeOptions
	page wire.ProxyPage
	link bool
}

func newPageSetCommand(a *app) *cobra.Command {
	var o pageSetOptions
	c := &cobra.Command{
		Use: "set STATUS|4xx|5xx|maintenance FILE ...", Short: "Set a page",
		Long: `Set a page. The name of a file says its form: .html (or .htm), .json or .txt. Its content becomes a part of the document; with --link
it stays in the file, which then lies below a --file-root and is read again when it changes. A form that is not given stays as it is.`,
		Example: `  platformctl page set 404 404.html 404.json
  platformctl page set 5xx sorry.html --route app.example.org --intercept
  platformctl page set maintenance /srv/www/soon.html --link`,
		Args: needs(2, "page set 404 404.html"), ValidArgsFunction: completePageNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := o.page
			p.Name = args[0]
			if err := a.readPage(&p, args[1:], o.link); err != nil {
				return err
			}
			r, err := a.client().SetPage(cmd.Context(), o.Options, p)
			what := "page " + p.Name + " of " + cmp.Or(p.Route, "all routes")
			return a.changed(r, err, "set "+what, what+" is like that")
		},
	}
	o.addFlags(c)
	c.Flags().BoolVar(&o.link, "link", false, "keep the content in the file")
	c.Flags().BoolVar(&o.page.Intercept, "intercept", false, "also in place of what the route's back end answers with that status")
	a.routeFlag(c, &o.page.Route)
	return c
}

// readPage makes the forms of a page of files.
func (a *app) readPage(p *wire.ProxyPage, files []string, link bool) error {
	var check checker
	for _, f := range files {
		form := map[string]*string{".html": &p.HTML, ".htm": &p.HTML, ".json": &p.JSON, ".txt": &p.Text}[strings.ToLower(filepath.Ext(f))]
		switch {
		case form == nil:
			check.bad("%s: the name does not say the form; write for example 404.html, 404.json or 404.txt", f)
		case *form != "":
			check.bad("%s: another file is of the same form; leave one of them out", f)
		case link:
			path, err := filepath.Abs(f)
			check.add(err)
			*form = "file://" + path
		default:
			data, err := a.readFile(f)
			check.add(err)
			if *form = string(data); err == nil && len(data) == 0 {
				check.bad("%s: is empty", f)
			}
		}
	}
	if err := check.err(); err != nil {
		return err
	}
	check.add(page.Config{p.Name: {HTML: p.HTML, JSON: p.JSON, Text: p.Text}}.Validate())
	return check.err()
}

func newPageRemoveCommand(a *app) *cobra.Command {
	var o changeOptions
	var of string
	c := &cobra.Command{
		Use: "remove STATUS|4xx|5xx|maintenance ...", Short: "Remove pages", Args: needs(1, "page remove 404"),
		ValidArgsFunction: a.complete(0, func(ctx context.Context) ([]string, error) {
			pages, err := a.client().Pages(ctx)
			pages = slices.DeleteFunc(pages, func(p wire.ProxyPage) bool { return p.Route != of })
			return names(pages, func(p wire.ProxyPage) string { return p.Name }), err
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().RemovePages(cmd.Context(), o.Options, of, args...)
			what := "page " + strings.Join(args, ", ") + " of " + cmp.Or(of, "all routes")
			return a.changed(r, err, "removed "+what, what+" is removed")
		},
	}
	o.addFlags(c)
	a.routeFlag(c, &of)
	return c
}

// routeFlag is for what a route can have, or all of them.
func (a *app) routeFlag(c *cobra.Command, of *string) {
	c.Flags().StringVar(of, "route", "", "for this route, HOST[/PATH]; without it for all")
	_ = c.RegisterFlagCompletionFunc("route", a.complete(0, a.routes)) // which fails for an unknown flag only
}

// completePageNames completes the first word; files come after it.
func completePageNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return []string{page.Maintenance, "4xx", "5xx", "400", "401", "403", "404", "413", "429", "500", "502", "503", "504"}, cobra.ShellCompDirectiveNoFileComp
}
