package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

type proxyLogOptions struct {
	wire.AccessFilter
	follow bool
	limit  int
}

func newProxyLogCommand(a *app) *cobra.Command {
	var o proxyLogOptions
	c := &cobra.Command{
		Use: "log", Short: "Show requests and streams that the proxy served", Args: noArgs,
		Long: `Show the newest requests that the proxy answered or refused, and the connections of streams that are over. All of them are in the files logs/access.jsonl* below the data directory.`,
		Example: `  platformctl proxy log --follow --host app.example.org
  platformctl proxy log --status 5xx --limit 20
  platformctl proxy log --client 192.0.2.7 --json
  platformctl proxy log --stream 5432/tcp`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runProxyLog(cmd.Context(), o) },
	}
	f := c.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with those that come, until interrupted")
	f.IntVar(&o.limit, "limit", 50, "how many of those that are remembered, 1 to 20000")
	f.StringVar(&o.Host, "host", "", "only for this host")
	f.StringVar(&o.Client, "client", "", "only from this address")
	f.StringVar(&o.Status, "status", "", "only with this status, such as 404 or 5xx")
	f.StringVar(&o.Path, "path", "", "only where the path holds this text")
	f.StringVar(&o.Stream, "stream", "", "only connections of this stream, such as 5432/tcp")
	return c
}

func (a *app) runProxyLog(ctx context.Context, o proxyLogOptions) error {
	if o.limit < 1 || o.limit > 20_000 {
		return usage("--limit %d: must be between 1 and 20000", o.limit)
	}
	if o.Client != "" {
		addr, err := netip.ParseAddr(o.Client)
		if err != nil {
			return usage("--client %q: is not an IPv4 or IPv6 address; write for example 192.0.2.1 or 2001:db8::1", o.Client)
		}
		o.Client = addr.Unmap().String()
	}
	list, err := a.client().ProxyLog(ctx, o.AccessFilter, o.limit)
	if err != nil {
		return err
	}
	if !o.follow {
		return a.show(list, func() {
			if len(list) == 0 {
				a.printf("no such request was answered since platformd started; wait for some with: platformctl proxy log --follow\n")
			}
			for _, r := range list {
				a.printAccess(r)
			}
		})
	}
	last := uint64(0)
	show := func(r wire.Access) error {
		if a.json {
			return a.printJSONLine(r)
		}
		a.printAccess(r)
		return nil
	}
	for _, r := range list {
		last = r.Seq
		if err := show(r); err != nil {
			return err
		}
	}
	return follow(ctx, a, a.client().FollowProxyLog(ctx, o.AccessFilter, last), show)
}

// printAccess prints one line.
func (a *app) printAccess(r wire.Access) {
	if r.Stream != "" {
		a.printStreamed(r)
		return
	}
	status := fmt.Sprint(r.Status)
	switch {
	case r.Status >= 500:
		status = a.paint(red, status)
	case r.Status >= 400:
		status = a.paint(yellow, status)
	}
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	a.printf("%s  %s  %s  %s %s%s  %s  %d B  %v", when(r.Time), status, r.Client, printable(r.Method), printable(r.Host), printable(target), printable(r.Protocol), r.Sent, time.Duration(r.Took).Round(10*time.Microsecond))
	if r.Reason != "" {
		a.printf("  (%s)", printable(r.Reason))
	}
	a.printf("\n")
}

// printStreamed prints a connection of a stream.
func (a *app) printStreamed(r wire.Access) {
	to := r.Backend
	if to == "" {
		to = "nowhere"
	}
	if r.Host != "" {
		to = r.Host + " at " + to
	}
	a.printf("%s  %s  %s  %s to %s  %d B in, %d B out  %v", when(r.Time), printable(r.Protocol), r.Client, printable(r.Stream), printable(to), r.Received, r.Sent, time.Duration(r.Took).Round(10*time.Microsecond))
	why := printable(r.Ended)
	if r.Reason != "" {
		why = a.paint(yellow, printable(r.Reason))
	}
	a.printf("  (%s)\n", why)
}

func newProxyTopCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "top", Short: "Show which routes and clients make the load", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runProxyTop(cmd.Context()) }}
}

func (a *app) runProxyTop(ctx context.Context) error {
	top, err := a.client().ProxyTop(ctx)
	if err != nil {
		return err
	}
	return a.show(top, func() {
		if top.Requests == 0 {
			a.printf("no request was answered since platformd started\n")
			return
		}
		a.printf("the last %d requests, since %s\n\n", top.Requests, when(top.Since))
		for _, part := range []struct {
			name string
			rows []wire.ProxyRow
		}{{"ROUTE", top.Routes}, {"CLIENT", top.Clients}} {
			t := newTable(part.name, "REQUESTS", "ERRORS", "REFUSED", "BYTES", "P50", "P95", "P99")
			for _, r := range part.rows {
				t.row(r.Key, fmt.Sprint(r.Requests), fmt.Sprint(r.Errors), fmt.Sprint(r.Refused), fmt.Sprint(r.Sent), ms(r.P50), ms(r.P95), ms(r.P99))
			}
			a.print(t)
			a.printf("\n")
		}
		if top.Lost > 0 {
			a.printf("%d records could not be kept\n", top.Lost)
		}
	})
}

func ms(v float64) string { return fmt.Sprintf("%.2f ms", v) }
