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
	return noun("proxy", "The HTTPS proxy", status, newProxyLogCommand(a), newProxyTopCommand(a), test)
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
	return a.show(r, func() { a.printf("%s is right: %d route(s)\n", file, r.Routes) })
}

func (a *app) runProxyStatus(ctx context.Context) error {
	s, err := a.client().Proxy(ctx)
	if err != nil {
		return err
	}
	return a.show(s, func() {
		if s.HTTP == "" && s.HTTPS == "" {
			a.printf("the proxy is off: platformd was started without --http and --https\n")
			return
		}
		serving := a.paint(red, "not serving")
		if s.Serving {
			serving = a.paint(green, "serving")
		}
		a.printf("proxy        %s\n", serving)
		a.printf("listens on   %s\n", strings.Join(listens(s.HTTP, s.HTTPS), ", "))
		a.printf("routes       %d\nconnections  %d\nrequests     %d, refused %d, by class 2xx %d, 3xx %d, 4xx %d, 5xx %d\n", s.Routes, s.Connections, s.Stats.Requests, s.Stats.Refused,
			s.Stats.ByClass[2], s.Stats.ByClass[3], s.Stats.ByClass[4], s.Stats.ByClass[5])
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
