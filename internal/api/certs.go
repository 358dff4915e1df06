package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
)

// The types of certificates under the names that the host knows them by.
type (
	Cert        = wire.Cert
	CertFailure = wire.CertFailure
	CertCheck   = wire.CertCheck
	CertImport  = wire.CertImport
	SecretInfo  = wire.SecretInfo
)

// CertHost is the part of Host that keeps certificates.
type CertHost interface {
	Certs(ctx context.Context) ([]Cert, error)
	ImportCert(ctx context.Context, by Caller, o Options, name string, in CertImport) (Cert, error)
	// RemoveCert forgets the certificate of a name; an empty kind is the one in use.
	RemoveCert(ctx context.Context, by Caller, o Options, name, kind string) (Cert, error)
	// RenewCert orders now, and returns when that came to an end.
	RenewCert(ctx context.Context, by Caller, o Options, name string) (Cert, error)
	TestCert(ctx context.Context, name string) ([]CertCheck, error)
	Secrets(ctx context.Context) ([]SecretInfo, error)
	SetSecret(ctx context.Context, by Caller, name string, value []byte) error
	RemoveSecret(ctx context.Context, by Caller, name string) error
}

type certInput struct {
	Name string `path:"name" doc:"The name of a host, or *.example.org."`
	Options
}

func (s *server) certRoutes() {
	route(s, http.MethodGet, "/certs", "list-certs", "The certificates of this host", func(ctx context.Context, _ *none) ([]Cert, error) {
		out, err := s.host.Certs(ctx)
		return list(out), err
	})
	route(s, http.MethodPut, "/certs/{name}", "import-cert", "Take a certificate of one's own into use", func(ctx context.Context, in *struct {
		Name string `path:"name" doc:"The name of a host, or *.example.org."`
		Options
		Body wire.CertImport
	}) (Cert, error) {
		return s.host.ImportCert(ctx, callerOf(ctx), in.Options, in.Name, in.Body)
	})
	route(s, http.MethodDelete, "/certs/{name}", "remove-cert", "Remove a certificate", func(ctx context.Context, in *struct {
		Name string `path:"name" doc:"The name of a host, or *.example.org."`
		Options
		Kind string `query:"kind" doc:"imported, acme or self-signed; empty is the one in use."`
	}) (Cert, error) {
		return s.host.RemoveCert(ctx, callerOf(ctx), in.Options, in.Name, in.Kind)
	})
	route(s, http.MethodPost, "/certs/{name}/renew", "renew-cert", "Ask the CAs for a certificate now; it may take minutes", func(ctx context.Context, in *certInput) (Cert, error) {
		return s.host.RenewCert(ctx, callerOf(ctx), in.Options, in.Name)
	})
	route(s, http.MethodGet, "/certs/{name}/test", "test-cert", "Look at everything that an order needs, without making one", func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) ([]CertCheck, error) {
		out, err := s.host.TestCert(ctx, in.Name)
		return list(out), err
	})
	route(s, http.MethodPost, "/cert-setup", "set-up-certs", "Say who issues certificates", func(ctx context.Context, in *struct {
		Options
		Body wire.CertSetup
	}) (ChangeResult, error) {
		return s.setUpCerts(ctx, in.Options, in.Body)
	})
	route(s, http.MethodPost, "/cert-names", "add-cert-names", "Want certificates for names beside those of the routes", func(ctx context.Context, in *struct {
		Options
		Body wire.CertNames
	}) (ChangeResult, error) {
		object := strings.Join(in.Body.Names, ", ")
		return s.change(ctx, in.Options, wish{action: activity.CertsChanged, object: object, summary: "want certificates for " + object,
			edit: func(st *state.State) error { st.Certs.AddNames(in.Body.Names...); return nil }})
	})
	route(s, http.MethodDelete, "/cert-names", "remove-cert-names", "Want no certificates for names any more", func(ctx context.Context, in *namesInput) (ChangeResult, error) {
		object := strings.Join(in.Names, ", ")
		return s.change(ctx, in.Options, wish{action: activity.CertsChanged, object: object, summary: "want no certificates for " + object,
			edit: func(st *state.State) error {
				if missing := st.Certs.RemoveNames(in.Names...); len(missing) > 0 {
					return fmt.Errorf("%w: certs.names does not list %s", ErrNotFound, strings.Join(missing, ", "))
				}
				return nil
			}})
	})
	route(s, http.MethodGet, "/secrets", "list-secrets", "The stored secrets, without their values", func(ctx context.Context, _ *none) ([]SecretInfo, error) {
		out, err := s.host.Secrets(ctx)
		return list(out), err
	})
	route(s, http.MethodPut, "/secrets/{name}", "set-secret", "Store a secret of a DNS provider or CA", func(ctx context.Context, in *struct {
		Name string `path:"name"`
		Body wire.SecretRequest
	}) (done, error) {
		return done{true}, s.host.SetSecret(ctx, callerOf(ctx), in.Name, in.Body.Value)
	})
	route(s, http.MethodDelete, "/secrets/{name}", "remove-secret", "Remove a stored secret", func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) (done, error) {
		return done{true}, s.host.RemoveSecret(ctx, callerOf(ctx), in.Name)
	})
}

func (s *server) setUpCerts(ctx context.Context, o Options, b wire.CertSetup) (ChangeResult, error) {
	if b.Email == nil && b.TermsAgreed == nil && b.CA == nil {
		return ChangeResult{}, invalid([]error{errors.New("nothing is said: give an e-mail address, the agreement to the CA's terms, or a CA")})
	}
	return s.change(ctx, o, wish{action: activity.CertsChanged, object: "certs", summary: "set up certificates", edit: func(st *state.State) error {
		if b.Email != nil {
			st.Certs.Email = *b.Email
		}
		if b.TermsAgreed != nil {
			st.Certs.TermsAgreed = *b.TermsAgreed
		}
		if b.CA != nil {
			ca := state.CA{Name: b.CA.Name, Directory: b.CA.Directory, Root: b.CA.Root, Profile: b.CA.Profile}
			if b.CA.EABKID != "" || b.CA.EABSecret != "" {
				ca.EAB = state.EAB{KID: b.CA.EABKID, Secret: b.CA.EABSecret}
			}
			st.Certs.SetCA(ca)
		}
		return nil
	}})
}
