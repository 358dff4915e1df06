package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newProxyCommand(a *app) *cobra.Command {
	status := &cobra.Command{Use: "status", Short: "Show the proxy at a glance", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runProxyStatus(cmd.Context()) }}
	var file string
	test := &cobra.Command{Use: "test -f FILE", Short: "Say everything that is wrong with a configuration of the proxy, and change nothing", Args: noArgs,
		Long:    `Say everything that is wrong with a configuration of the proxy, and change nothing. The file is what stands below "proxy:" in the document.`,
		Example: "  platformctl proxy test -f proxy.yaml",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runProxyTest(cmd.Context(), file) }}
	fileFlag(test, &file)
	return noun("proxy", "The HTTPS proxy", status, newProxyLogCommand(a), newProxyTopCommand(a), newProxyPurgeCommand(a), test)
}

func newProxyPurgeCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "purge URL|GLOB|tag:NAME", Short: "Drop stored answers",
		Long: `Drop stored answers: of one address, of all that a glob matches, or all with a tag, which back ends give by Cache-Tag or Surrogate-Key.`,
		Example: `  platformctl proxy purge https://app.example.org/style.css
  platformctl proxy purge 'https://app.example.org/img/*'
  platformctl proxy purge tag:article-7
  platformctl proxy purge --all`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			what := ""
			switch {
			case all == (len(args) == 1):
				return usage("say what is to be dropped, or --all; for example: platformctl proxy purge https://app.example.org/style.css")
			case !all:
				if what = args[0]; what == "" {
					return usage("an empty address names nothing; write --all for everything")
				}
			}
			r, err := a.client().PurgeProxy(cmd.Context(), what)
			if err != nil {
				return err
			}
			return a.show(r, func() { a.printf("dropped %d stored answer(s)\n", r.Dropped) })
		},
	}
	c.Flags().BoolVar(&all, "all", false, "everything that is stored")
	return c
}

func (a *app) runProxyTest(ctx context.Context, file string) error {
	if file == "" {
		return usage("no file is named; write for example: -f proxy.yaml, or -f - for the standard input")
	}
	data, err := a.readFile(file)
	if err != nil {
		return err
	}
	if file == "-" {
		file = "stdin"
	}
	r, err := a.client().TestProxy(ctx, file, data)
	if err != nil {
		return err
	}
	return a.show(r, func() { a.printf("%s is right: %d route(s), %d stream(s)\n", file, r.Routes, r.Streams) })
}

func (a *app) runProxyStatus(ctx context.Context) error {
	s, err := a.client().Proxy(ctx)
	if err != nil {
		return err
	}
	return a.show(s, func() {
		if s.HTTP == "" && s.HTTPS == "" && !s.Serving {
			a.printf("the proxy is off: platformd was started without --http and --https, and there is no stream\n")
			return
		}
		serving := a.paint(red, "not serving")
		if s.Serving {
			serving = a.paint(green, "serving")
		}
		a.printf("proxy        %s\n", serving)
		if at := listens(s.HTTP, s.HTTPS); len(at) > 0 {
			a.printf("listens on   %s\n", strings.Join(at, ", "))
		}
		a.printf("routes       %d\nconnections  %d\nrequests     %d, refused %d, by class 2xx %d, 3xx %d, 4xx %d, 5xx %d\n", s.Routes, s.Connections, s.Stats.Requests, s.Stats.Refused,
			s.Stats.ByClass[2], s.Stats.ByClass[3], s.Stats.ByClass[4], s.Stats.ByClass[5])
		for _, x := range s.Streams {
			a.printf("stream       %s: %d open of %d, refused %d, failed %d, %d B in, %d B out\n", printable(x.Stream), x.Open, x.Total, x.Refused, x.Failed, x.Received, x.Sent)
		}
		if n := len(s.Upstreams); n > 0 {
			a.printf("back ends    %s well\n", wellOf(s.Upstreams))
		}
		for _, u := range s.Upstreams {
			if state := serverState(u); state != "well" {
				a.printf("             %s\n", a.paint(yellow, printable(fmt.Sprintf("%s: %s %s %s", u.Group, u.URL, state, u.Reason))))
			}
		}
		for _, w := range s.Weak {
			a.printf("%s\n", a.paint(yellow, "the worker "+printable(w)))
		}
	})
}

func listens(http, https string) []string {
	var out []string
	if http != "" {
		out = append(out, http+" (HTTP)")
	}
	if https != "" {
		out = append(out, fmt.Sprintf("%s (HTTPS, HTTP/3)", https))
	}
	return out
}
