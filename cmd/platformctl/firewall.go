package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newFirewallCommand(a *app) *cobra.Command {
	status := newStatusCommand(a)
	status.Short = "The same as platformctl status"
	return noun("firewall", "Switch the firewall on or off, or choose its driver",
		newFirewallSwitchCommand(a, "on", "Put the policy in force", true),
		newFirewallSwitchCommand(a, "off", "Remove everything of ours from the kernel: the host is open", false),
		newFirewallDriverCommand(a), status)
}

func newFirewallSwitchCommand(a *app, use, short string, on bool) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		r, err := a.client().SetFirewall(cmd.Context(), o.Options, wire.FirewallRequest{Enabled: &on})
		done := "the firewall is on"
		if !on {
			done = "the firewall is off and the host is open; switch it on again with: platformctl firewall on"
		}
		return a.changed(r, err, done, "the firewall is "+use)
	}}
	o.addFlags(c)
	return c
}

func newFirewallDriverCommand(a *app) *cobra.Command {
	var o changeOptions
	drivers := []string{"auto", "nft", "iptables"}
	c := &cobra.Command{
		Use: "driver auto|nft|iptables", Short: "Choose what in the kernel holds the policy", ValidArgs: drivers, Args: exactly(1, "firewall driver nft"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(drivers, args[0]) {
				return usage("firewall driver %q: must be auto, nft or iptables", args[0])
			}
			return a.runFirewallDriver(cmd.Context(), o, args[0])
		},
	}
	o.addFlags(c)
	return c
}

func (a *app) runFirewallDriver(ctx context.Context, o changeOptions, driver string) error {
	r, err := a.client().SetFirewall(ctx, o.Options, wire.FirewallRequest{Driver: &driver})
	return a.changed(r, err, "the firewall driver is "+driver, "the firewall driver is "+driver)
}
