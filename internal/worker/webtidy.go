package worker

import (
	"runtime/debug"
	"time"
)

// tidier gives memory back when it has become quiet after much has happened: what the last burst of requests and handshakes
// needed would otherwise stay with the process until the next burst, and it shares a small machine with the apps. To do so
// costs some milliseconds; under load nothing is done.
type tidier struct {
	last  int64 // events that there were when it was looked last
	since int64 // and when memory was given back last
	quiet int   // looks in a row at which there were few
}

const (
	tidyEvery = 500 * time.Millisecond
	tidyAfter = 4    // quiet looks: connections have given their buffers back by then
	tidyFew   = 25   // events between two looks that are quiet
	tidyMany  = 1000 // events that are worth it
)

// due takes the number of events that there were so far, and reports whether memory is to be given back.
func (t *tidier) due(events int64) bool {
	if events-t.last > tidyFew {
		t.quiet = 0
	} else {
		t.quiet++
	}
	t.last = events
	if t.quiet < tidyAfter || events-t.since < tidyMany {
		return false
	}
	t.since = events
	return true
}

// tidy looks until the worker ends.
func (w *web) tidy() {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for t := (tidier{}); ; {
		select {
		case <-w.ended:
			return
		case <-tick.C:
			if t.due(w.server.Events()) {
				debug.FreeOSMemory()
			}
		}
	}
}
