package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Sample is a number that is read when it is asked for.
type Sample struct {
	// Name goes without the prefix "platformd_"; one that ends in "_total" only ever grows.
	Name string `json:"name"`
	Help string `json:"help"`
	// Labels are the same names, in the same order, in all samples of a name.
	Labels []Label `json:"labels,omitempty"`
	Value  float64 `json:"value"`
}

// Label says of what a sample is. Values come from the configuration, never from a client.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
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
		for _, l := range s.Labels {
			labels, values = append(labels, l.Name), append(values, strings.ToValidUTF8(l.Value, "?"))
		}
		kind := prometheus.GaugeValue
		if strings.HasSuffix(s.Name, "_total") {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc("platformd_"+s.Name, s.Help, labels, nil), kind, s.Value, values...)
	}
}
