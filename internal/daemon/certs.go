package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/certs"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/secret"
	"github.com/platformd/platformd/internal/sqlite"
	"github.com/platformd/platformd/internal/state"
)

// certBook is the certificates with what the daemon needs of them.
type certBook struct {
	*certs.Manager
	store *certs.Store
}

func (d *Daemon) openCerts(ctx context.Context) (*certBook, error) {
	open := func() (*certs.Store, error) {
		return certs.OpenStore(ctx, d.cfg.DataDir, d.cfg.Credentials, d.now)
	}
	store, err := open()
	// The host must be protected all the same; what is moved aside can be put back.
	if corruptDatabase(err) || errors.Is(err, secret.ErrNoKey) {
		why := err
		aside, moveErr := sqlite.MoveAside(filepath.Join(d.cfg.DataDir, "certs.db"), d.now())
		if moveErr != nil {
			return nil, moveErr
		}
		d.health.Set(health.Condition{ID: "certificates-lost", Severity: health.Warning,
			Message: fmt.Sprintf("the database of certificates could not be opened (%v) and is now %s; CAs are asked anew", why, aside), Remedy: "import your own certificates and store the secrets of DNS providers again; look at the disk"})
		store, err = open()
	}
	if err != nil {
		return nil, err
	}
	b := &certBook{store: store}
	b.Manager, err = certs.New(ctx, certs.Config{
		Store: store, Issuer: d.lists.pool, Responder: challenger{d},
		Names:    d.routeNames,
		Settings: func() state.Certs { s, _ := d.store.Current(); return s.Certs },
		Changed:  func(names []string) { d.edge.refresh(names) },
		Record:   func(ctx context.Context, r activity.Record) { d.record(ctx, r) },
		Health:   d.health, Now: d.now, Log: d.log,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return b, nil
}

// keepCerts runs the manager, and has it look when the document changed.
func (d *Daemon) keepCerts(ctx context.Context) error {
	changes := d.store.Watch(ctx)
	go func() {
		for range changes {
			d.certs.Wake()
		}
	}()
	return d.certs.Run(ctx)
}

func by(c api.Caller) activity.Record { return activity.Record{Actor: c.Actor, Source: c.Source} }

// Certs implements api.Host.
func (d *Daemon) Certs(context.Context) ([]api.Cert, error) {
	out := []api.Cert{}
	for _, s := range d.certs.List() {
		out = append(out, wireCert(s))
	}
	return out, nil
}

func wireCert(s certs.Status) api.Cert {
	out := api.Cert{Name: s.Name, Names: s.Names, Source: s.Source, InUse: s.InUse, Wanted: s.Wanted, Issuer: s.Issuer, Serial: s.Serial, Fingerprint: s.Fingerprint,
		NotBefore: s.NotBefore, Expires: s.Expires, RenewAt: s.RenewAt}
	for _, a := range s.Attempts {
		out.Failures = append(out.Failures, api.CertFailure{CA: a.CA, Times: a.Failures, At: a.At, Next: a.Next, Problem: a.Problem, Reason: a.Reason})
	}
	return out
}

// cert is a certificate as List has it.
func (d *Daemon) cert(c *certs.Certificate) api.Cert {
	for _, s := range d.certs.List() {
		if s.Name == c.Name && s.Fingerprint == c.Fingerprint && s.Source == c.Source {
			return wireCert(s)
		}
	}
	return wireCert(certs.Status{Certificate: c})
}

// ImportCert implements api.Host.
func (d *Daemon) ImportCert(ctx context.Context, caller api.Caller, o api.Options, name string, in api.CertImport) (api.Cert, error) {
	c, err := d.certs.Import(ctx, by(caller), name, in.Certificate, in.Key, in.Password, o.DryRun)
	if err != nil {
		return api.Cert{}, invalidUnlessOurs(err)
	}
	return d.cert(c), nil
}

// invalidUnlessOurs marks what the caller can mend.
func invalidUnlessOurs(err error) error {
	if errors.Is(err, sqlite.ErrFull) || corruptDatabase(err) {
		return err
	}
	return fmt.Errorf("%w: %w", api.ErrInvalid, err)
}

// RemoveCert implements api.Host.
func (d *Daemon) RemoveCert(ctx context.Context, caller api.Caller, o api.Options, name, kind string) (api.Cert, error) {
	c, err := d.certs.Remove(ctx, by(caller), name, kind, o.DryRun)
	if err != nil {
		return api.Cert{}, noSuchCert(err)
	}
	return wireCert(certs.Status{Certificate: c}), nil
}

func noSuchCert(err error) error {
	for _, none := range []error{certs.ErrNotFound, certs.ErrNoSecret, certs.ErrNotWanted} {
		if errors.Is(err, none) {
			return fmt.Errorf("%w: %w", api.ErrNotFound, err)
		}
	}
	return err
}

// RenewCert implements api.Host.
func (d *Daemon) RenewCert(ctx context.Context, _ api.Caller, o api.Options, name string) (api.Cert, error) {
	c, err := d.certs.Renew(ctx, name, o.Force)
	if errors.Is(err, certs.ErrNotWanted) {
		return api.Cert{}, noSuchCert(err)
	}
	if err != nil {
		return api.Cert{}, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return d.cert(c), nil
}

// TestCert implements api.Host.
func (d *Daemon) TestCert(ctx context.Context, name string) ([]api.CertCheck, error) {
	out := []api.CertCheck{}
	for _, c := range d.certs.Test(ctx, name) {
		out = append(out, api.CertCheck(c))
	}
	return out, nil
}

// Secrets implements api.Host.
func (d *Daemon) Secrets(ctx context.Context) ([]api.SecretInfo, error) {
	list, err := d.certs.store.Secrets(ctx)
	out := []api.SecretInfo{}
	for _, i := range list {
		out = append(out, api.SecretInfo(i))
	}
	return out, err
}

// SetSecret implements api.Host.
func (d *Daemon) SetSecret(ctx context.Context, caller api.Caller, name string, value []byte) error {
	if err := d.certs.SetSecret(ctx, by(caller), name, value); err != nil {
		return invalidUnlessOurs(err)
	}
	return nil
}

// RemoveSecret implements api.Host.
func (d *Daemon) RemoveSecret(ctx context.Context, caller api.Caller, name string) error {
	return noSuchCert(d.certs.RemoveSecret(ctx, by(caller), name))
}
