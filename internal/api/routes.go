package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/state"
)

// routes registers everything below /v1.
func (s *server) routes() {
	route(s, http.MethodGet, "/status", "get-status", "The host at a glance", func(ctx context.Context, _ *none) (Status, error) {
		st, err := s.host.Status(ctx)
		if st.Conditions == nil {
			st.Conditions = []health.Condition{}
		}
		return st, err
	})
	route(s, http.MethodGet, "/health", "get-health", "What is wrong with the host right now", func(ctx context.Context, _ *none) ([]health.Condition, error) {
		st, err := s.host.Status(ctx)
		return list(st.Conditions), err
	})
	s.documentRoutes()
	s.revisionRoutes()
	s.portRoutes()
	s.blockRoutes()
	s.allowRoutes()
	s.feedRoutes()
	s.geoRoutes()
	s.limitRoutes()
	s.banRoutes()
	s.dropRoutes()
	s.certRoutes()
	s.dnsRoutes()
	s.activityRoutes()
	s.proxyRoutes()
	s.streamRoutes()
	s.appRoutes()
	s.appLifeRoutes()
	s.settingRoutes()
	route(s, http.MethodGet, "/explain", "explain", "What happens to a new flow from an address, and why", s.explain)
	route(s, http.MethodPut, "/firewall", "set-firewall", "Switch the firewall on or off, or choose its driver", s.setFirewall)
	route(s, http.MethodGet, "/doctor", "run-doctor", "Look at the host for what is wrong", func(ctx context.Context, in *struct {
		Probe bool `query:"probe" doc:"Also scan the host's own addresses from outside."`
	}) ([]Finding, error) {
		// It may take long, and the daemon must not have to wait for it when it ends.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
		out, err := s.host.Doctor(ctx, in.Probe)
		return list(out), err
	})
}

type explainInput struct {
	Address   string `query:"address" required:"true"`
	Port      string `query:"port" doc:"Without a port, only what holds for every port is asked."`
	Protocol  string `query:"protocol" doc:"tcp or udp; tcp where it is empty."`
	Interface string `query:"interface" doc:"Where the packet comes in."`
	App       string `query:"app" doc:"The flow comes from this app, and goes to the address."`
}

func (s *server) explain(ctx context.Context, in *explainInput) (Explanation, error) {
	var errs []error
	q := firewall.Query{Interface: in.Interface, App: in.App}
	var err error
	if q.Source, err = parseAddress(in.Address); err != nil {
		errs = append(errs, err)
	}
	if q.Protocol, err = parseProtocol(in.Protocol); err != nil {
		errs = append(errs, err)
	}
	if in.Port != "" {
		n, err := strconv.ParseUint(in.Port, 10, 16)
		if err != nil || n == 0 {
			errs = append(errs, fmt.Errorf("port %q: must be a number from 1 to 65535", in.Port))
		}
		q.Port = uint16(n)
	}
	if err := invalid(errs); err != nil {
		return Explanation{}, err
	}
	return s.host.Explain(ctx, q)
}

type firewallInput struct {
	Options
	Body wire.FirewallRequest
}

func (s *server) setFirewall(ctx context.Context, in *firewallInput) (ChangeResult, error) {
	w := wish{object: "firewall"}
	switch b := in.Body; {
	case (b.Enabled == nil) == (b.Driver == nil):
		return ChangeResult{}, invalid([]error{errors.New("firewall: name either enabled or driver")})
	case b.Driver != nil:
		w.action, w.summary = activity.DriverChanged, "use firewall driver "+*b.Driver
		w.edit = func(st *state.State) error { st.Firewall.Driver = *b.Driver; return nil }
	case *b.Enabled:
		w.action, w.summary = activity.FirewallEnabled, "switch the firewall on"
		w.edit = func(st *state.State) error { st.Firewall.Disabled = false; return nil }
	default:
		w.action, w.summary = activity.FirewallDisabled, "switch the firewall off"
		w.edit = func(st *state.State) error { st.Firewall.Disabled = true; return nil }
	}
	return s.change(ctx, in.Options, w)
}

// list is never null on the wire.
func list[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}

// invalid joins mistakes; nil where there are none.
func invalid(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(errs...))
}

func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("address %q: is not an IPv4 or IPv6 address; write for example 192.0.2.1 or 2001:db8::1", s)
	}
	return a.Unmap().WithZone(""), nil
}

func parseProtocol(s string) (firewall.Protocol, error) {
	switch p := firewall.Protocol(s); p {
	case "":
		return firewall.TCP, nil
	case firewall.TCP, firewall.UDP:
		return p, nil
	}
	return "", fmt.Errorf("protocol %q: must be tcp or udp", s)
}

// parsePorts reads all that it can and appends every mistake to errs.
func parsePorts(in []string, errs *[]error) []firewall.PortRange {
	var out []firewall.PortRange
	for _, p := range in {
		r, err := firewall.ParsePortRange(p)
		if err != nil {
			*errs = append(*errs, err)
			continue
		}
		out = append(out, r)
	}
	return out
}

// parseTargets reads all that it can and appends every mistake to errs.
func parseTargets(in []string, errs *[]error) []ranges.Range {
	var out []ranges.Range
	for _, t := range in {
		r, err := ranges.Parse(t)
		if err != nil {
			*errs = append(*errs, err)
			continue
		}
		out = append(out, r)
	}
	return out
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
