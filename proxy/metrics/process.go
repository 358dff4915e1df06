package metrics

import "runtime/metrics"

// Process says what a program of ours holds, under names that begin with prefix.
func Process(prefix string) []Sample {
	read := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(read)
	return []Sample{
		{Name: prefix + "heap_live_bytes", Help: "Memory that the last collection of garbage found in use.", Value: float64(read[0].Value.Uint64())},
		{Name: prefix + "goroutines", Help: "Goroutines of the process.", Value: float64(read[1].Value.Uint64())},
	}
}
