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

type portInput struct {
	Options
	Body wire.PortRequest
}

type namesInput struct {
	Options
	Names []string `query:"name,explode" required:"true" doc:"May be given several times."`
}

func (s *server) portRoutes() {
	route(s, http.MethodGet, "/ports", "list-ports", "The open ports", func(ctx context.Context, _ *none) ([]firewall.Port, error) {
		st, _, err := s.host.Document(ctx)
		return list(st.Firewall.Ports), err
	})
	route(s, http.MethodPost, "/ports", "open-ports", "Open ports", s.openPorts)
	route(s, http.MethodDelete, "/ports", "close-ports", "Close ports, by name or as 8080, 8080/tcp", s.closePorts)
}

func (s *server) openPorts(ctx context.Context, in *portInput) (ChangeResult, error) {
	var errs []error
	b := in.Body
	p := firewall.Port{Name: b.Name, Interfaces: b.Interfaces, Limit: b.Limit}
	var err error
	if p.Protocol, err = parseProtocol(b.Protocol); err != nil {
		errs = append(errs, err)
	}
	if p.Ports = parsePorts(b.Ports, &errs); len(b.Ports) == 0 {
		errs = append(errs, errors.New("ports: name at least one, such as 8080 or 8000-8010"))
	}
	p.Sources = parseTargets(b.Sources, &errs)
	if err := invalid(errs); err != nil {
		return ChangeResult{}, err
	}
	object := strings.Join(b.Ports, ",") + "/" + string(p.Protocol)
	summary := "open port " + object
	if p.Name != "" {
		summary += " (" + p.Name + ")"
	}
	if len(b.Sources) > 0 {
		summary += " from " + strings.Join(b.Sources, ", ")
	}
	return s.change(ctx, in.Options, wish{action: activity.PortOpened, object: object, summary: summary, edit: func(st *state.State) error {
		if err := st.Firewall.OpenPort(p); err != nil {
			return exists{err}
		}
		return nil
	}})
}

// exists makes an error of an edit an ErrExists without changing its text.
type exists struct{ error }

func (e exists) Is(target error) bool { return target == ErrExists }
func (e exists) Unwrap() error        { return e.error }

func (s *server) closePorts(ctx context.Context, in *namesInput) (ChangeResult, error) {
	object := strings.Join(in.Names, ", ")
	return s.change(ctx, in.Options, wish{action: activity.PortClosed, object: object, summary: "close port " + object, edit: func(st *state.State) error {
		return each(in.Names, st.Firewall.ClosePort)
	}})
}

// each calls edit for every name and joins what it says: all mistakes at once.
func each[T any](names []T, edit func(T) error) error {
	var errs []error
	for _, n := range names {
		errs = append(errs, edit(n))
	}
	return errors.Join(errs...)
}

// several is "a", or "a and 3 more", for summaries.
func several(in []string) string {
	const most = 3
	if len(in) <= most {
		return strings.Join(in, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(in[:most], ", "), len(in)-most)
}
