package worker

import (
	"encoding/json"

	"github.com/platformd/platformd/proxy/upstream"
)

// maxStatuses is how many servers a worker says something of at once; it says less where they would not fit into a frame.
const maxStatuses = 1000

// statusesOf are those of one group, or of all for "".
func statusesOf(all []upstream.Status, group string) []upstream.Status {
	out, size := []upstream.Status{}, 0
	for _, s := range all {
		if group != "" && s.Group != group {
			continue
		}
		s.Reason = clean(s.Reason)
		b, _ := json.Marshal(s) // of texts and numbers it never fails
		if size += len(b); len(out) == maxStatuses || size > maxFromWorker/2 {
			break
		}
		out = append(out, s)
	}
	return out
}

// checkedStatuses makes what a worker said fit to be shown.
func checkedStatuses(in []upstream.Status) []upstream.Status {
	in = in[:min(len(in), maxStatuses)]
	for i := range in {
		s := &in[i]
		s.Group, s.URL, s.Reason = clean(s.Group), clean(s.URL), clean(s.Reason)
	}
	return in
}
