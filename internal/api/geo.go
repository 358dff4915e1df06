package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
)

type geoRemoveInput struct {
	Options
	Action    string   `query:"action" required:"true" doc:"block or allow."`
	Countries []string `query:"country,explode" doc:"Empty is all of the rule."`
	Ports     []string `query:"port,explode" doc:"The ports of the rule; empty is the rule for the whole host."`
}

func (s *server) geoRoutes() {
	route(s, http.MethodGet, "/geo", "get-geo", "The geo rules and the data behind them", func(ctx context.Context, _ *none) (GeoStatus, error) {
		out, err := s.host.Geo(ctx)
		out.Rules = list(out.Rules)
		return out, err
	})
	route(s, http.MethodPost, "/geo", "add-geo", "Add countries to a geo rule", func(ctx context.Context, in *struct {
		Options
		Body wire.GeoRequest
	}) (ChangeResult, error) {
		return s.addGeo(ctx, in.Options, in.Body)
	})
	route(s, http.MethodDelete, "/geo", "remove-geo", "Take countries out of a geo rule", s.removeGeo)
	route(s, http.MethodPost, "/geo/update", "update-geo", "Read the country data anew", func(ctx context.Context, _ *none) (GeoStatus, error) {
		out, err := s.host.UpdateGeo(ctx, callerOf(ctx))
		out.Rules = list(out.Rules)
		return out, err
	})
	route(s, http.MethodGet, "/geo/countries", "list-countries", "The countries that geo rules can name", func(context.Context, *none) ([]Country, error) {
		return list(s.host.Countries()), nil
	})
	route(s, http.MethodGet, "/geo/lookup", "lookup-geo", "Where an address belongs", func(ctx context.Context, in *struct {
		Address string `query:"address" required:"true"`
	}) (GeoLookup, error) {
		a, err := parseAddress(in.Address)
		if err != nil {
			return GeoLookup{}, invalid([]error{err})
		}
		return s.host.LookupGeo(ctx, a)
	})
}

func parseGeo(action string, countries, ports []string, errs *[]error) firewall.GeoRule {
	g := firewall.GeoRule{Action: firewall.GeoAction(action), Ports: parsePorts(ports, errs)}
	if g.Action != firewall.GeoBlock && g.Action != firewall.GeoAllow {
		*errs = append(*errs, fmt.Errorf("action %q: must be block or allow", action))
	}
	for _, c := range countries {
		g.Countries = append(g.Countries, strings.ToUpper(c))
	}
	return g
}

func (s *server) addGeo(ctx context.Context, o Options, b wire.GeoRequest) (ChangeResult, error) {
	var errs []error
	g := parseGeo(b.Action, b.Countries, b.Ports, &errs)
	g.AdmitUnknown = b.AdmitUnknown
	if len(b.Countries) == 0 {
		errs = append(errs, errors.New("countries: name at least one, such as DE"))
	}
	if b.Protocol != "" {
		var err error
		if g.Protocol, err = parseProtocol(b.Protocol); err != nil {
			errs = append(errs, err)
		}
	}
	if err := invalid(errs); err != nil {
		return ChangeResult{}, err
	}
	object := strings.Join(g.Countries, " ")
	return s.change(ctx, o, wish{action: activity.GeoChanged, object: object, summary: fmt.Sprintf("geo %s %s%s", g.Action, object, onPorts(b.Ports)),
		edit: func(st *state.State) error { st.Firewall.AddGeo(g); return nil }})
}

func (s *server) removeGeo(ctx context.Context, in *geoRemoveInput) (ChangeResult, error) {
	var errs []error
	g := parseGeo(in.Action, in.Countries, in.Ports, &errs)
	if err := invalid(errs); err != nil {
		return ChangeResult{}, err
	}
	object := strings.Join(g.Countries, " ")
	if object == "" {
		object = "all countries"
	}
	return s.change(ctx, in.Options, wish{action: activity.GeoChanged, object: object, summary: fmt.Sprintf("remove geo %s %s%s", g.Action, object, onPorts(in.Ports)),
		edit: func(st *state.State) error { return st.Firewall.RemoveGeo(g.Action, g.Ports, g.Countries) }})
}

func onPorts(ports []string) string {
	if len(ports) == 0 {
		return ""
	}
	return " on port " + strings.Join(ports, ", ")
}
