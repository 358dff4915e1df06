package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/api/wire"
)

// barWidth is that of a progress bar, in characters.
const barWidth = 30

// eventPrinter prints events of long work; on a terminal, bytes that are fetched are one line that fills.
type eventPrinter struct {
	a      *app
	last   string
	inLine bool
}

func (p *eventPrinter) print(e wire.AppEvent) {
	text := eventText(e)
	if p.a.json || text == p.last {
		return
	}
	p.last = text
	if e.Total > 0 && p.a.colours(p.a.err) {
		fmt.Fprintf(p.a.err, "\r\x1b[K  %s %s", printable(e.Text), bar(e.Done, e.Total))
		p.inLine = true
		return
	}
	p.end()
	fmt.Fprintln(p.a.err, "  "+text)
}

// end leaves the line of a bar.
func (p *eventPrinter) end() {
	if p.inLine {
		fmt.Fprintln(p.a.err)
		p.inLine = false
	}
}

// bar is so much of a whole that may still grow.
func bar(done, total int64) string {
	full := int(min(max(done, 0), total) * barWidth / total)
	return fmt.Sprintf("[%s%s] %3d%% of %v", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*min(max(done, 0), total)/total, apps.Size(total).Round())
}

func newAppSchemaCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "schema", Short: "Print the JSON Schema of manifests, for editors", Args: noArgs, Example: "  platformctl app schema > manifest.schema.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client().ManifestSchema(cmd.Context())
			if err != nil {
				return err
			}
			return a.printJSON(s)
		}}
}
