package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

// changeOptions are the flags of every command that changes the host.
type changeOptions struct{ wire.Options }

func (o *changeOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would change, and change nothing")
	f.BoolVar(&o.Force, "force", false, "skip the lock-out guard and the check for own addresses")
	f.Int64Var(&o.Base, "base", 0, "refuse where another revision than this one is current")
}

// changed tells what came of a change. done is the sentence for one that was made, same for one that was not needed.
func (a *app) changed(r wire.ChangeResult, err error, done, same string) error {
	if err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
		return verified(r)
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(a.err, "platformctl: warning: "+printable(w))
	}
	switch {
	case r.DryRun:
		a.printDryRun(r)
		return nil
	case !r.Changed:
		a.printf("%s; nothing to change (revision %d)\n", same, r.Revision)
	default:
		state := a.paint(green, "in force")
		if !r.Verified {
			state = a.paint(red, "not in force yet")
		}
		a.printf("%s (revision %d, %s)\n", done, r.Revision, state)
	}
	if r.Closed > 0 {
		a.printf("ended %d open connection(s)\n", r.Closed)
	}
	if r.Confirm != nil {
		a.printConfirm(r.Confirm)
	}
	return verified(r)
}

func verified(r wire.ChangeResult) error {
	if r.DryRun || r.Verified {
		return nil
	}
	return &codedError{exitNotVerified, "the change is stored, but the kernel does not agree yet; see: platformctl status"}
}

// printConfirm says that a change will be taken back.
func (a *app) printConfirm(p *wire.Provisional) {
	a.printf("\n%s %s.\n", a.paint(yellow, "Warning:"), printable(p.Reason))
	a.printf("It is taken back at %s, in %s, unless you keep it:\n\n    platformctl confirm\n", when(p.Deadline), a.left(p.Deadline))
}

func (a *app) printDryRun(r wire.ChangeResult) {
	if !r.Changed && len(r.Kernel) == 0 {
		a.printf("dry run: nothing would change\n")
		return
	}
	a.printf("dry run: nothing was changed\n")
	if len(r.Document) > 0 {
		a.printf("\nthe document would change:\n")
		a.printFields(r.Document)
	}
	if len(r.Kernel) > 0 {
		a.printf("\nthe kernel would change:\n")
		for _, c := range r.Kernel {
			a.printf("  %s\n", a.paint(styleOf(c.String()), printable(c.String())))
		}
	} else {
		a.printf("\nthe kernel would not change\n")
	}
	if r.Confirm != nil {
		a.printf("\n%s %s; it would be taken back unless confirmed\n", a.paint(yellow, "Warning:"), printable(r.Confirm.Reason))
	}
}

// printFields prints differences between two documents.
func (a *app) printFields(fields []wire.FieldChange) {
	for _, f := range fields {
		var line string
		switch {
		case len(f.Before) == 0:
			line = fmt.Sprintf("+ %s: %s", f.Path, f.After)
		case len(f.After) == 0:
			line = fmt.Sprintf("- %s: %s", f.Path, f.Before)
		default:
			line = fmt.Sprintf("~ %s: %s -> %s", f.Path, f.Before, f.After)
		}
		a.printf("  %s\n", a.paint(styleOf(line), printable(line)))
	}
}

func styleOf(line string) style {
	switch {
	case strings.HasPrefix(line, "+"):
		return green
	case strings.HasPrefix(line, "-"):
		return red
	}
	return yellow
}
