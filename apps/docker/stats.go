package docker

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/platformd/platformd/apps"
)

// maxStats bounds what is read of one answer.
const maxStats = 1 << 20

// Usage is what a container used until now; one request that does not wait.
func (e *Engine) Usage(ctx context.Context, name string) (apps.Usage, error) {
	r, err := e.api.ContainerStatsOneShot(ctx, name)
	if err != nil {
		return apps.Usage{}, failed("measure "+name, err)
	}
	defer r.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(io.LimitReader(r.Body, maxStats)).Decode(&s); err != nil {
		return apps.Usage{}, failed("measure "+name, err)
	}
	out := apps.Usage{CPU: time.Duration(s.CPUStats.CPUUsage.TotalUsage), Memory: int64(s.MemoryStats.Usage), PIDs: int64(s.PidsStats.Current)}
	// What is only cached of files is given back when it is needed (docker stats counts the same way).
	for _, cache := range []string{"total_inactive_file", "inactive_file"} {
		if n := int64(s.MemoryStats.Stats[cache]); n > 0 && n < out.Memory {
			out.Memory -= n
			break
		}
	}
	for _, n := range s.Networks {
		out.Received, out.Sent = out.Received+int64(n.RxBytes), out.Sent+int64(n.TxBytes)
	}
	return out, nil
}
