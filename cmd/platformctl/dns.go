package main

import (
	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newDNSCommand(a *app) *cobra.Command {
	return noun("dns", "DNS records that names need to lead here", newDNSSubcommand(a, "plan", "Show which records names need, and how what is there differs"),
		newDNSSubcommand(a, "apply", "Create what is missing, at the DNS providers of the document"),
		newDNSSubcommand(a, "remove", "Remove the address records of names that lead here"))
}

func newDNSSubcommand(a *app, verb, short string) *cobra.Command {
	var o changeOptions
	r := wire.DNSRequest{Remove: verb == "remove"}
	c := &cobra.Command{Use: verb + " NAME ...", Short: short, Args: needs(1, "dns "+verb+" www.example.org"), RunE: func(cmd *cobra.Command, args []string) error {
		var check checker
		for _, n := range args {
			check.host(n)
		}
		for _, s := range r.Addresses {
			check.address(s)
		}
		if err := check.err(); err != nil {
			return err
		}
		r.Names = args
		dry := verb == "plan" || o.DryRun
		send := a.client().ApplyDNS
		if dry {
			send = a.client().PlanDNS
		}
		list, err := send(cmd.Context(), r)
		if err != nil {
			return err
		}
		return a.show(list, func() { a.printPlans(list, dry) })
	}}
	c.Flags().StringSliceVar(&r.Addresses, "address", nil, "an address by which this host is reached; its own public ones where none is given")
	if verb != "remove" {
		c.Flags().BoolVar(&r.Replace, "replace", false, "also remove what leads elsewhere")
	}
	if verb != "plan" {
		dryRunFlag(c, &o)
	}
	return c
}

func (a *app) printPlans(list []wire.DNSPlan, dry bool) {
	for _, p := range list {
		switch {
		case p.Provider == "":
			a.printf("%s: no provider in certs.dns has its zone; make these records by hand:\n", p.Name)
		case p.Unread != "":
			a.printf("%s: what is there cannot be read (%s); it needs:\n", p.Name, printable(p.Unread))
		case len(p.Changes) == 0:
			a.printf("%s: nothing to change\n", p.Name)
		case dry:
			a.printf("%s, at %s, would change:\n", p.Name, p.Provider)
		default:
			a.printf("%s, at %s, changed:\n", p.Name, p.Provider)
		}
		for _, c := range p.Changes {
			mark := "+"
			if c.Remove {
				mark = "-"
			}
			line := mark + " " + c.Record.Name + " " + c.Record.Type + " " + c.Record.Value
			a.printf("  %s\n", a.paint(styleOf(line), printable(line)))
		}
		for _, r := range p.Odd {
			a.printf("  %s %s\n", a.paint(yellow, "leads elsewhere:"), printable(r.Name+" "+r.Type+" "+r.Value))
		}
	}
}
