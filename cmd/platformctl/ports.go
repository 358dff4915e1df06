package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newPortsCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the open ports", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runPortsList(cmd.Context()) }}
	return noun("ports", "List, open and close ports", list, newPortsOpenCommand(a), newPortsCloseCommand(a))
}

func (a *app) runPortsList(ctx context.Context) error {
	ports, err := a.client().Ports(ctx)
	if err != nil {
		return err
	}
	return a.show(ports, func() {
		if len(ports) == 0 {
			a.printf("no port is open; open one with: platformctl ports open 443\n")
			return
		}
		t := newTable("NAME", "PORTS", "PROTOCOL", "FROM", "INTERFACES", "LIMIT")
		for _, p := range ports {
			from := "everybody"
			if len(p.Sources) > 0 {
				from = join(p.Sources)
			}
			t.row(p.Name, join(p.Ports), string(p.Protocol), from, strings.Join(p.Interfaces, ", "), p.Limit)
		}
		a.print(t)
	})
}

type portsOpenOptions struct {
	changeOptions
	request wire.PortRequest
}

func newPortsOpenCommand(a *app) *cobra.Command {
	var o portsOpenOptions
	c := &cobra.Command{
		Use:   "open PORT[-PORT][/tcp|/udp] ...",
		Short: "Open ports of this host and published ports of containers",
		Example: `  platformctl ports open 8080
  platformctl ports open 8000-8010/udp --name voice
  platformctl ports open 5432 --from 10.0.0.0/8 --interface eth1
  platformctl ports open 2222 --limit ssh`,
		Args: needs(1, "ports open 8080"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runPortsOpen(cmd.Context(), o, args) },
	}
	o.addFlags(c)
	f := c.Flags()
	f.StringVar(&o.request.Name, "name", "", "name of the entry; made of protocol and number where it is not given")
	f.StringSliceVar(&o.request.Sources, "from", nil, "only from these addresses, prefixes or ranges")
	f.StringSliceVar(&o.request.Interfaces, "interface", nil, "only on these interfaces; * at the end is any suffix")
	f.StringVar(&o.request.Limit, "limit", "", "limit class, such as ssh or http")
	_ = c.RegisterFlagCompletionFunc("limit", a.complete(0, a.limitClasses)) // the flag is there
	return c
}

func (a *app) runPortsOpen(ctx context.Context, o portsOpenOptions, args []string) error {
	var check checker
	r := o.request
	for _, arg := range args {
		number, proto, given := strings.Cut(arg, "/")
		check.ports([]string{number})
		if given && proto != "tcp" && proto != "udp" {
			check.bad("port %q: the protocol must be tcp or udp", arg)
		}
		if !given {
			proto = "tcp"
		}
		if r.Protocol != "" && proto != r.Protocol {
			check.bad("port %q: one command opens ports of one protocol; run it once for each", arg)
		}
		r.Protocol = proto
		r.Ports = append(r.Ports, number)
	}
	check.targets(r.Sources)
	if err := check.err(); err != nil {
		return err
	}
	res, err := a.client().OpenPorts(ctx, o.Options, r)
	what := strings.Join(r.Ports, ", ") + "/" + r.Protocol
	return a.changed(res, err, "opened "+what, what+" is open")
}

func newPortsCloseCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use:     "close NAME|PORT[/tcp|/udp] ...",
		Short:   "Close ports, by name or by number",
		Example: "  platformctl ports close http\n  platformctl ports close 8000-8010/udp",
		Args:    needs(1, "ports close http"), ValidArgsFunction: a.completePorts(),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().ClosePorts(cmd.Context(), o.Options, args...)
			what := strings.Join(args, ", ")
			return a.changed(r, err, "closed "+what, what+" is closed")
		},
	}
	o.addFlags(c)
	return c
}
