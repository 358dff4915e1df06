package daemon

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/proxy/metrics"
)

// countsFor is how long counts that were read are good for another scrape.
const countsFor = time.Second

// maxTallies bounds the values of one label: whoever reports a strike over the API names its reason.
const maxTallies = 100

// tallies count what happened since the daemon was started. The zero value is ready, and safe for concurrent use.
type tallies struct {
	mu sync.Mutex
	by map[string]map[string]int64
}

func (t *tallies) add(what, key string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[string]map[string]int64{}
	}
	if t.by[what] == nil {
		t.by[what] = map[string]int64{}
	}
	if _, known := t.by[what][key]; !known && len(t.by[what]) >= maxTallies {
		key = "other"
	}
	t.by[what][key] += int64(n)
}

func (t *tallies) get(what string) map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.by[what])
}

// counts are what the host counts, for who scrapes the proxy.
type counts struct {
	d    *Daemon
	mu   sync.Mutex
	read time.Time
	last []metrics.Sample
}

// samples reads them, at most once in countsFor: it is a worker that asks, as often as it likes.
func (c *counts) samples(ctx context.Context) []metrics.Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.d.now(); c.last == nil || now.Sub(c.read) >= countsFor || now.Before(c.read) {
		c.last, c.read = c.d.samples(ctx), now
	}
	return c.last
}

func (d *Daemon) samples(ctx context.Context) []metrics.Sample {
	s, _ := d.store.Current()
	feeds, _ := d.lists.sets(&s.Firewall)
	events, strikes := d.tallies.get("event"), d.tallies.get("strike")
	var out []metrics.Sample
	add := func(name, help string, v float64, labels ...string) {
		x := metrics.Sample{Name: name, Help: help, Value: v}
		for i := 0; i+1 < len(labels); i += 2 {
			x.Labels = append(x.Labels, metrics.Label{Name: labels[i], Value: labels[i+1]})
		}
		out = append(out, x)
	}
	const blocked = "Addresses and ranges that the firewall keeps out, by what put them there."
	add("blocked_ips", blocked, float64(len(s.Firewall.Blocks)), "by", "block")
	add("blocked_ips", blocked, float64(len(d.bans.timed())), "by", "ban")
	add("blocked_ips", blocked, float64(feeds.V4+feeds.V6), "by", "feed")
	for _, reason := range slices.Sorted(maps.Keys(strikes)) {
		add("strikes_total", "What sources did that may lead to a ban.", float64(strikes[reason]), "reason", reason)
	}
	add("failed_auth_attempts_total", "Logins over SSH that failed; those of the proxy are counted there.", float64(strikes["sshd"]), "service", "ssh")
	for _, action := range activity.Actions() {
		if n := events[string(action.Name)]; n > 0 {
			add("events_total", "Records of the activity log, by action.", float64(n), "action", string(action.Name))
		}
	}
	add("cert_renewals_total", "Certificates that were issued or renewed.", float64(events[string(activity.CertificateIssued)]))
	add("cert_failures_total", "Orders for certificates that failed.", float64(events[string(activity.CertificateFailed)]))
	seen := map[string]bool{}
	for _, c := range d.certs.List() {
		if c.InUse && !seen[c.Name] {
			seen[c.Name] = true
			add("cert_expires_timestamp_seconds", "When the certificate that is in use for a name ends, in seconds since 1970.", float64(c.Expires.Unix()), "name", c.Name)
		}
	}
	add("signature_failures_total", "What was found in the activity log that is not as it was signed.", float64(len(d.tallies.get("damage"))))
	bySeverity := map[string]int{"critical": 0, "warning": 0}
	for _, c := range d.health.List() {
		bySeverity[string(c.Severity)]++
	}
	for _, severity := range slices.Sorted(maps.Keys(bySeverity)) {
		add("conditions", "What is wrong with the host now.", float64(bySeverity[severity]), "severity", severity)
	}
	return slices.Concat(out, metrics.Process("daemon_"), d.packetSamples(ctx))
}

// packetSamples are the firewall's own counters.
func (d *Daemon) packetSamples(ctx context.Context) []metrics.Sample {
	driver := d.filter.current()
	if driver == nil {
		return nil
	}
	counters, err := driver.Counters(ctx)
	if err != nil {
		d.log.Warn("read the firewall's counters", "error", err)
		return nil
	}
	var out, limits []metrics.Sample
	for _, c := range counters {
		out = append(out, metrics.Sample{Name: "refused_packets_total", Help: "Packets that the firewall refused, by reason.", Labels: []metrics.Label{{Name: "reason", Value: string(c.Reason)}}, Value: float64(c.Packets)})
		class, limited := strings.CutPrefix(string(c.Reason), string(firewall.ReasonLimit)+":")
		if c.Reason == firewall.ReasonSYN {
			class, limited = "syn", true
		}
		if limited {
			limits = append(limits, metrics.Sample{Name: "rate_limit_hits_total", Help: "Packets that a limit of the firewall refused, by its class.", Labels: []metrics.Label{{Name: "limit", Value: class}}, Value: float64(c.Packets)})
		}
	}
	return append(out, limits...)
}

// verifyActivity checks the log, and counts what is wrong with it, each thing once.
func (d *Daemon) verifyActivity(ctx context.Context) (activity.Report, error) {
	r, err := d.activity.Verify(ctx)
	known := d.tallies.get("damage")
	for _, p := range r.Problems {
		if known[p.ID] == 0 {
			d.tallies.add("damage", p.ID, 1)
		}
	}
	return r, err
}
