package apps

import "time"

// Usage is what a container used since it was started.
type Usage struct {
	CPU            time.Duration // of all processors together
	Memory         int64         // bytes, now
	PIDs           int64         // now
	Received, Sent int64         // bytes
}
