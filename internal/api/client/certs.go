package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/platformd/platformd/internal/api/wire"
)

// Certs are the certificates of the host.
func (c *Client) Certs(ctx context.Context) ([]wire.Cert, error) {
	return get[[]wire.Cert](ctx, c, "/certs", nil)
}

// ImportCert takes a certificate of one's own into use.
func (c *Client) ImportCert(ctx context.Context, o wire.Options, name string, in wire.CertImport) (wire.Cert, error) {
	return call[wire.Cert](ctx, c, request{method: http.MethodPut, path: "/certs/" + name, query: options(o), body: in})
}

// RemoveCert removes the certificate of a name; an empty kind is the one in use.
func (c *Client) RemoveCert(ctx context.Context, o wire.Options, name, kind string) (wire.Cert, error) {
	return call[wire.Cert](ctx, c, request{method: http.MethodDelete, path: "/certs/" + name, query: with(options(o), "kind", kind)})
}

// RenewCert asks the CAs now; it may take minutes.
func (c *Client) RenewCert(ctx context.Context, o wire.Options, name string) (wire.Cert, error) {
	return call[wire.Cert](ctx, c, request{method: http.MethodPost, path: "/certs/" + name + "/renew", query: options(o)})
}

// TestCert looks at everything that an order for a name needs.
func (c *Client) TestCert(ctx context.Context, name string) ([]wire.CertCheck, error) {
	return get[[]wire.CertCheck](ctx, c, "/certs/"+name+"/test", nil)
}

// SetUpCerts says who issues certificates.
func (c *Client) SetUpCerts(ctx context.Context, o wire.Options, r wire.CertSetup) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/cert-setup", options(o), r)
}

// AddCertNames wants certificates for names beside those of the routes.
func (c *Client) AddCertNames(ctx context.Context, o wire.Options, names ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/cert-names", options(o), wire.CertNames{Names: names})
}

// RemoveCertNames wants them no more.
func (c *Client) RemoveCertNames(ctx context.Context, o wire.Options, names ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/cert-names", with(options(o), "name", names...), nil)
}

// Secrets are the stored secrets, without their values.
func (c *Client) Secrets(ctx context.Context) ([]wire.SecretInfo, error) {
	return get[[]wire.SecretInfo](ctx, c, "/secrets", nil)
}

// SetSecret stores a secret.
func (c *Client) SetSecret(ctx context.Context, name string, value []byte) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodPut, path: "/secrets/" + url.PathEscape(name), body: wire.SecretRequest{Value: value}})
	return err
}

// RemoveSecret removes a secret.
func (c *Client) RemoveSecret(ctx context.Context, name string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: "/secrets/" + url.PathEscape(name)})
	return err
}

// PlanDNS says which records names need, and how what is there differs.
func (c *Client) PlanDNS(ctx context.Context, r wire.DNSRequest) ([]wire.DNSPlan, error) {
	return call[[]wire.DNSPlan](ctx, c, request{method: http.MethodPost, path: "/dns/plan", body: r})
}

// ApplyDNS makes it so, and says what it made.
func (c *Client) ApplyDNS(ctx context.Context, r wire.DNSRequest) ([]wire.DNSPlan, error) {
	return call[[]wire.DNSPlan](ctx, c, request{method: http.MethodPost, path: "/dns/apply", body: r})
}
