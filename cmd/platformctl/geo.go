package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newGeoCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the geo rules and the data behind them", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		g, err := a.client().Geo(cmd.Context())
		if err != nil {
			return err
		}
		return a.show(g, func() { a.printGeo(g) })
	}}
	update := &cobra.Command{Use: "update", Short: "Read the country data anew", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		g, err := a.client().UpdateGeo(cmd.Context())
		if err != nil {
			return err
		}
		return a.show(g, func() { a.printGeo(g) })
	}}
	lookup := &cobra.Command{Use: "lookup ADDRESS", Short: "Show where an address belongs", Args: exactly(1, "geo lookup 192.0.2.1"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runGeoLookup(cmd.Context(), args[0]) }}
	return noun("geo", "Rules about countries", list, newGeoAddCommand(a, "block", "Keep countries out"),
		newGeoAddCommand(a, "allow", "Keep everybody out who is not from these countries"), newGeoRemoveCommand(a), lookup, update)
}

func (a *app) printGeo(g wire.GeoStatus) {
	if len(g.Rules) == 0 {
		a.printf("no geo rules; add one with: platformctl geo block CC --port 22\n")
	} else {
		t := newTable("ACTION", "COUNTRIES", "PORTS", "PROTOCOL", "UNKNOWN", "RANGES")
		for _, r := range g.Rules {
			ports, unknown := "all", ""
			if len(r.Ports) > 0 {
				ports = join(r.Ports)
			}
			if r.AdmitUnknown {
				unknown = "admitted"
			}
			t.row(string(r.Action), strings.Join(r.Countries, " "), ports, string(r.Protocol), unknown, fmt.Sprint(r.Ranges))
		}
		a.print(t)
	}
	if len(g.Sources) == 0 {
		a.printf("\nno country data; install the package tor-geoipdb, or name files under firewall.geo_data, then: platformctl geo update\n")
	} else {
		a.printf("\n%d countries, %d IPv4 and %d IPv6 ranges, from %s, loaded %s\n", g.Countries, g.RangesV4, g.RangesV6, strings.Join(g.Sources, ", "), when(g.Loaded))
	}
	if g.LastError != "" {
		a.printf("%s %s\n", a.paint(red, "last error:"), printable(g.LastError))
	}
}

func (a *app) runGeoLookup(ctx context.Context, address string) error {
	var check checker
	check.address(address)
	if err := check.err(); err != nil {
		return err
	}
	l, err := a.client().LookupGeo(ctx, address)
	if err != nil {
		return err
	}
	return a.show(l, func() {
		if l.Country == "" {
			a.printf("%s belongs to no known country\n", l.Address)
			return
		}
		a.printf("%s  %s  %s  (%s)\n", l.Address, l.Country, l.Name, l.Range)
	})
}

type geoOptions struct {
	changeOptions
	request wire.GeoRequest
}

// geoPorts takes the protocol off ports such as 22/tcp.
func geoPorts(check *checker, ports []string, protocol *string) []string {
	var out []string
	for _, p := range ports {
		number, proto, given := strings.Cut(p, "/")
		check.ports([]string{number})
		if given {
			check.protocol(proto)
			if *protocol != "" && *protocol != proto {
				check.bad("port %q: one rule is about one protocol; run the command once for each", p)
			}
			*protocol = proto
		}
		out = append(out, number)
	}
	return out
}

func newGeoAddCommand(a *app, action, short string) *cobra.Command {
	var o geoOptions
	c := &cobra.Command{
		Use: action + " CC ...", Short: short, Args: needs(1, "geo "+action+" DE FR --port 22"),
		Example:           "  platformctl geo " + action + " DE FR\n  platformctl geo " + action + " DE --port 22",
		ValidArgsFunction: a.complete(0, a.countryCodes),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.request.Action, o.request.Countries = action, args
			return a.runGeoAdd(cmd.Context(), o)
		},
	}
	o.addFlags(c)
	f := c.Flags()
	f.StringSliceVar(&o.request.Ports, "port", nil, "only for these ports, such as 22 or 8000-8010/udp; the whole host where it is not given")
	if action == "allow" {
		f.BoolVar(&o.request.AdmitUnknown, "admit-unknown", false, "let addresses of no known country in as well")
	}
	return c
}

func (a *app) runGeoAdd(ctx context.Context, o geoOptions) error {
	var check checker
	r := o.request
	check.countries(r.Countries)
	r.Ports = geoPorts(&check, r.Ports, &r.Protocol)
	if err := check.err(); err != nil {
		return err
	}
	res, err := a.client().AddGeo(ctx, o.Options, r)
	what := fmt.Sprintf("geo %s %s", r.Action, strings.ToUpper(strings.Join(r.Countries, " ")))
	return a.changed(res, err, "added "+what, what+" is there")
}

func newGeoRemoveCommand(a *app) *cobra.Command {
	var o changeOptions
	var ports []string
	c := &cobra.Command{
		Use: "remove block|allow [CC ...]", Short: "Take countries out of a rule; the whole rule where none is named",
		Example: "  platformctl geo remove block DE\n  platformctl geo remove allow --port 22", Args: needs(1, "geo remove block DE"),
		ValidArgs: []string{"block", "allow"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			var protocol string
			action, countries := args[0], args[1:]
			if action != "block" && action != "allow" {
				check.bad("geo remove: %q must be block or allow; write for example: platformctl geo remove block DE", action)
			}
			check.countries(countries)
			numbers := geoPorts(&check, ports, &protocol)
			if err := check.err(); err != nil {
				return err
			}
			r, err := a.client().RemoveGeo(cmd.Context(), o.Options, action, countries, numbers)
			what := strings.TrimSpace("geo " + action + " " + strings.ToUpper(strings.Join(countries, " ")))
			return a.changed(r, err, "removed "+what, what+" is not there")
		},
	}
	o.addFlags(c)
	c.Flags().StringSliceVar(&ports, "port", nil, "the ports of the rule; the rule for the whole host where it is not given")
	return c
}
