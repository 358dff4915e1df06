package metrics

import "github.com/prometheus/client_golang/prometheus"

// Sample is a number that is read when it is asked for.
type Sample struct {
	// Name goes without the prefix "platformd_proxy_"; one that ends in "_total" only ever grows.
	Name, Help string
	// Label is the name of the one label, "" for none, and Key its value.
	Label, Key string
	Value      float64
}

// samples collects what a function gives.
type samples func() []Sample

// Describe implements prometheus.Collector: what there is, is not known before.
func (samples) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f samples) Collect(to chan<- prometheus.Metric) {
	if f == nil {
		return
	}
	for _, s := range f() {
		var labels, values []string
		if s.Label != "" {
			labels, values = []string{s.Label}, []string{s.Key}
		}
		kind := prometheus.GaugeValue
		if len(s.Name) > 6 && s.Name[len(s.Name)-6:] == "_total" {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc("platformd_proxy_"+s.Name, s.Help, labels, nil), kind, s.Value, values...)
	}
}
