package worker

import (
	"context"
	"time"

	"github.com/platformd/platformd/proxy/metrics"
)

// countsWithin is how long a scrape waits for the daemon.
const countsWithin = 2 * time.Second

// hostCounts are those of the daemon, and whether there is one. Without it a scrape has the counts of the proxy alone.
func (w *web) hostCounts() []metrics.Sample {
	up := metrics.Sample{Name: "up", Help: "Whether the daemon answered this scrape."}
	var out []metrics.Sample
	if l := w.certs.link.Load(); l != nil {
		ctx, cancel := context.WithTimeout(context.Background(), countsWithin)
		defer cancel()
		if err := l.Ask(ctx, webCounts, nil, &out); err == nil {
			up.Value = 1
		}
	}
	return append(out, up)
}
