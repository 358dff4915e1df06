package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newDoctorCommand(a *app) *cobra.Command {
	probe := false
	c := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with the host, and say what to do", Args: noArgs,
		Long: "Look for what is wrong with the host, and say what to do. Ends with 3 where a check failed.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDoctor(cmd.Context(), probe) },
	}
	c.Flags().BoolVar(&probe, "probe", false, "also scan the host's own addresses from outside, and compare with the policy")
	return c
}

func (a *app) runDoctor(ctx context.Context, probe bool) error {
	findings, err := a.client().Doctor(ctx, probe)
	if err != nil {
		return err
	}
	if err := a.show(findings, func() { a.printFindings(findings) }); err != nil {
		return err
	}
	if slices.ContainsFunc(findings, func(f wire.Finding) bool { return f.State == "failed" }) {
		return &codedError{code: exitNotVerified}
	}
	return nil
}

func (a *app) printFindings(findings []wire.Finding) {
	if len(findings) == 0 {
		a.printf("nothing is wrong\n")
		return
	}
	styles := map[string]style{"ok": green, "warning": yellow, "failed": red, "skipped": dim}
	for _, f := range findings {
		a.printf("%s  %s: %s\n", a.paint(styles[f.State], printable(f.State)), printable(f.Check), printable(f.Detail))
		if f.Remedy != "" {
			a.printf("    what to do: %s\n", printable(f.Remedy))
		}
	}
}
