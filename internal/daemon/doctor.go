package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/doctor"
)

// Doctor implements api.Host. With a probe it takes up to 20 s.
func (d *Daemon) Doctor(ctx context.Context, probe bool) ([]api.Finding, error) {
	rs, _, err := d.compile()
	if err != nil {
		return nil, err
	}
	listening := d.listeners()
	left, err := d.filter.Plan(ctx)
	if err == nil && len(left) > 0 {
		// A change may have been half way. What is not, or is not repaired meanwhile, is there a moment later.
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		left, err = d.filter.Plan(ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	driver, _, _ := d.filter.state()
	found := []doctor.Finding{doctor.Policy(rs.Off, driver, left, err)}
	found = append(found, doctor.Conditions(d.health.List())...)
	found = append(found, d.examineSSH(ctx, rs, listening)...)
	found = append(found, doctor.Services(rs, listening)...)
	found = append(found, doctor.Kernel(sysctl, rs, bridges())...)
	found = append(found, doctor.Firewalls(otherFirewalls("/"))...)
	config := dockerConfig("/")
	if s, _ := d.store.Current(); config == nil && len(s.Apps.Apps) > 0 {
		config = []byte("{}") // an engine runs apps here, with the defaults of Docker
	}
	found = append(found, doctor.Docker(config)...)
	lists, err := d.examineLists(ctx)
	if err != nil {
		return nil, err
	}
	found = append(found, lists...)
	found = append(found, d.examineStores(ctx)...)
	if probe {
		found = append(found, d.probe(ctx, listening)...)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	out := make([]api.Finding, len(found))
	for i, f := range found {
		out[i] = api.Finding{Check: f.Check, State: string(f.State), Detail: f.Detail, Remedy: f.Remedy}
	}
	return out, nil
}

// examineSSH looks at sshd where one listens here, be it through systemd's socket.
func (d *Daemon) examineSSH(ctx context.Context, rs *firewall.Ruleset, listening []doctor.Listener) []doctor.Finding {
	ports := d.sshd.ports(d.now())
	settings, err := sshdSettings(ctx)
	if len(ports) == 0 && settings != nil {
		tcp := doctor.Ports(listening, firewall.TCP)
		for _, p := range settings.Ports {
			if slices.Contains(tcp, p) {
				ports = append(ports, p)
			}
		}
	}
	if len(ports) == 0 {
		settings, err = nil, nil
	}
	return append(doctor.Logins(settings, err), doctor.WayIn(rs, ports))
}

func (d *Daemon) examineLists(ctx context.Context) ([]doctor.Finding, error) {
	status, err := d.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	var feeds []doctor.Feed
	for _, f := range status {
		if !f.Disabled {
			feeds = append(feeds, doctor.Feed{Name: f.Name, Every: time.Duration(f.Every), Checked: f.Checked, Error: f.LastError})
		}
	}
	geo, err := d.Geo(ctx)
	if err != nil {
		return nil, err
	}
	dated := geo.Loaded
	for i, path := range geo.Sources {
		if st, err := os.Stat(path); err == nil && (i == 0 || st.ModTime().After(dated)) {
			dated = st.ModTime()
		}
	}
	return append(doctor.Feeds(d.now(), feeds), doctor.Geo(d.now(), len(geo.Rules), geo.Loaded, dated)), nil
}

func (d *Daemon) examineStores(ctx context.Context) []doctor.Finding {
	var fs unix.Statfs_t
	var free, total uint64
	if err := unix.Statfs(d.cfg.DataDir, &fs); err == nil {
		free, total = fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
	}
	_, rev := d.store.Current()
	written := []time.Time{rev.Time, d.started}
	if st, err := os.Stat(filepath.Join(d.cfg.DataDir, "activity.db")); err == nil {
		written = append(written, st.ModTime())
	}
	return []doctor.Finding{doctor.Disk(d.cfg.DataDir, free, total), doctor.Clock(d.now(), written...), doctor.Activity(d.verifyActivity(ctx))}
}

// listeners are the sockets of this network namespace that wait for others.
func (d *Daemon) listeners() []doctor.Listener {
	var out []doctor.Listener
	for name, proto := range map[string]firewall.Protocol{"tcp": firewall.TCP, "tcp6": firewall.TCP, "udp": firewall.UDP, "udp6": firewall.UDP} {
		f, err := os.Open(filepath.Join("/proc/self/net", name))
		if err != nil {
			continue // without IPv6 there is no such file
		}
		out = append(out, doctor.ParseSockets(proto, f)...)
		f.Close()
	}
	return out
}

func bridges() []string {
	links, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	var out []string
	for _, l := range links {
		if l.Type() == "bridge" {
			out = append(out, l.Attrs().Name)
		}
	}
	return out
}
