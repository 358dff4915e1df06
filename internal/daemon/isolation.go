package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/nflog"
	"github.com/platformd/platformd/internal/health"
)

func hasApp(c *apps.Config, name string) bool {
	_, there := c.App(name)
	return there
}

// readyPasses is how many passes an app waits for: an engine that puts rules of its own before ours undoes what one has done.
const readyPasses = 5

// appReady returns when what keeps an app apart from everybody is in force: the keeper makes no network and starts no
// container before. Where the firewall is switched off, so is this.
func (d *Daemon) appReady(ctx context.Context, app string) error {
	d.filterBridges(ctx)
	rs, _, err := d.compile()
	if err != nil {
		return fmt.Errorf("app %q waits for the firewall: %w", app, err)
	}
	want := rs.Segments.Named(app)
	if rs.Off || want == nil { // an app that is gone from the document has no containers to start
		return nil
	}
	// With iptables, the rules that an engine makes for a network may be before ours until the next pass.
	if driver := d.filter.current(); driver != nil && driver.Name() == "nft" && d.segmentInForce(want) {
		return nil
	}
	for range readyPasses {
		result, failed := d.loop.Sync(ctx)
		if failed == nil && result.Verified && d.segmentInForce(want) {
			return nil
		}
		if err = errors.Join(failed, result.Err); err == nil {
			err = errors.New("its rules are not in the kernel yet")
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("app %q waits for the firewall: %w; platformctl status says more", app, err)
}

// segmentInForce reports whether the ruleset that was last seen in the kernel has the network of an app.
func (d *Daemon) segmentInForce(want *firewall.Segment) bool {
	_, rs, _ := d.filter.state()
	if rs == nil {
		return false
	}
	have := rs.Segments.Named(want.Name)
	return have != nil && have.Bridge == want.Bridge && have.V4 == want.V4 && have.V6 == want.V6 && have.Egress == want.Egress && slices.Equal(have.Peers, want.Peers)
}

// modprobePatience bounds the loading of a module.
const modprobePatience = 5 * time.Second

// filterBridges makes frames between two containers of one bridge meet the firewall, for which the kernel has to be asked.
// Where it cannot be, an app can reach more of its own addons than their port, and a condition says so.
func (d *Daemon) filterBridges(ctx context.Context) {
	var errs []error
	for _, name := range []string{"iptables", "ip6tables"} {
		path := "net/bridge/bridge-nf-call-" + name
		v, there := sysctl(path)
		if !there {
			ctx, cancel := context.WithTimeout(ctx, modprobePatience)
			if out, err := exec.CommandContext(ctx, "modprobe", "br_netfilter").CombinedOutput(); err != nil {
				errs = append(errs, fmt.Errorf("modprobe br_netfilter: %w %s", err, strings.TrimSpace(string(out))))
			}
			cancel()
			v, _ = sysctl(path)
		}
		if v == "1" {
			continue
		}
		if err := os.WriteFile("/proc/sys/"+path, []byte("1"), 0o644); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		d.health.Set(health.Condition{ID: "bridge-filter", Severity: health.Warning,
			Message: "frames between containers of one app do not meet the firewall: " + strings.ReplaceAll(err.Error(), "\n", "; "),
			Remedy:  "modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1"})
		return
	}
	d.health.Clear("bridge-filter")
}

// keepBridgesFiltered looks again now and then: other programs set these values too. Without apps it does nothing.
func (d *Daemon) keepBridgesFiltered(ctx context.Context) error {
	const every = 30 * time.Second
	for {
		if s, _ := d.store.Current(); len(s.Apps.Apps) > 0 {
			d.filterBridges(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// reasonOf names the app that a packet came from, beside why it was refused: "egress:blog".
func (d *Daemon) reasonOf(p nflog.Packet) firewall.Reason {
	if p.Reason != firewall.ReasonEgress && p.Reason != firewall.ReasonSpoof {
		return p.Reason
	}
	_, rs, _ := d.filter.state()
	if rs == nil {
		return p.Reason
	}
	for _, x := range rs.Segments.List {
		if x.Bridge == p.Interface || p.Reason == firewall.ReasonEgress && x.Holds(p.Source) {
			return p.Reason.Of(x.Name)
		}
	}
	return p.Reason
}
