package daemon

import (
	"context"

	"github.com/platformd/platformd/internal/api"
)

// Doctor implements api.Host.
func (d *Daemon) Doctor(ctx context.Context, probe bool) ([]api.Finding, error) {
	var out []api.Finding
	for _, c := range d.health.List() {
		out = append(out, api.Finding{Check: c.ID, State: "failed", Detail: c.Message, Remedy: c.Remedy})
	}
	return out, nil
}
