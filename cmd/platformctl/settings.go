package main

import (
	"github.com/spf13/cobra"
)

func newSettingsCommand(a *app) *cobra.Command {
	var o changeOptions
	set := &cobra.Command{Use: "set PATH VALUE", Short: "Set one field of the document",
		Long: `Set one field of the document, by its path as platformctl export writes it. The value "null" takes the field away, so that its default holds.`,
		Example: `  platformctl settings set settings.guard 2m
  platformctl settings set apps.require_apparmor false
  platformctl settings set settings.activity_days null`,
		Args: exactly(2, "settings set settings.guard 2m"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().Set(cmd.Context(), o.Options, args[0], args[1])
			return a.changed(r, err, "set "+args[0], args[0]+" is "+args[1])
		}}
	o.addFlags(set)
	return noun("settings", "Set single fields of the document", set)
}
