package upstream

import (
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

// Every mistake is reported, each with its place and what to write instead.
func TestValidate(t *testing.T) {
	err := Validate([]Group{
		{Name: "a b"},
		{Name: "app", Servers: []Server{{URL: "http://127.0.0.1:1"}, {URL: "http://127.0.0.1:1"}, {URL: "ftp://x"}, {URL: "http://u:secret@h"}, {URL: "http://h/path"}, {URL: "http://h:0", SNIName: "x"}, {URL: "https://h", CA: "none", Weight: 5000}}, Algorithm: "best", Retries: 99,
			MaxConnections: -1, SlowStart: field.Duration(100 * time.Hour), Health: &Health{Type: "ping", Path: "x y", Interval: 1, Statuses: []int{100}, Healthy: -1}, Passive: Passive{Failures: -2, Window: -1}},
		{Name: "app", Servers: []Server{{URL: "https://h", Backup: true}}},
	})
	if err == nil {
		t.Fatal("took it all")
	}
	got := err.Error()
	for _, want := range []string{
		"[0].name: ", "[0].servers: is empty", "[1].servers[1].url: ", "[1].servers[2].url: ", "[1].servers[3].url: ", "[1].servers[4].url: ", "[1].servers[5].url: ", "[1].servers[5].sni_name: ",
		"[1].servers[6].ca: ", "[1].servers[6].weight: ", "[1].algorithm: ", "[1].retries: ", "[1].max_connections: ", "[1].slow_start: ", "[1].health.type: ", "[1].health.path: ", "[1].health.interval: ",
		"[1].health.statuses[0]: ", "[1].health.healthy: ", "[1].passive.failures: ", "[1].passive.window: ", "[2].servers: are all backups", "[2]: \"app\" is also group 1",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing says %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "secret") {
		t.Errorf("a password is in\n%s", got)
	}
	if err := Validate([]Group{{Name: "app", Servers: []Server{{URL: "http://127.0.0.1:8080"}, {URL: "h2c://[::1]:1", Backup: true}}, Algorithm: PowerOfTwo, Health: &Health{Path: "/healthz"}}}); err != nil {
		t.Error(err)
	}
}
