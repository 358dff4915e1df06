package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/platformd/platformd/internal/api/wire"
)

// Catalog are the apps that can be installed by name.
func (c *Client) Catalog(ctx context.Context) ([]wire.CatalogApp, error) {
	return get[[]wire.CatalogApp](ctx, c, "/catalog", nil)
}

// ManifestSchema is the JSON Schema of manifests.
func (c *Client) ManifestSchema(ctx context.Context) (map[string]any, error) {
	return get[map[string]any](ctx, c, "/catalog/schema", nil)
}

// PlanApp says what installing or updating to a manifest would change.
func (c *Client) PlanApp(ctx context.Context, name, domain, file string, manifest []byte) (wire.AppPlan, error) {
	return call[wire.AppPlan](ctx, c, request{method: http.MethodPost, path: "/apps/plan", query: with(with(with(nil, "name", name), "domain", domain), "file", file), body: manifest})
}

// PlanInstalledApp says what differs from the document in the container engine.
func (c *Client) PlanInstalledApp(ctx context.Context, name string) (wire.AppPlan, error) {
	return get[wire.AppPlan](ctx, c, "/apps/"+url.PathEscape(name)+"/plan", nil)
}

// RepairApp makes network, volumes and containers of an app anew.
func (c *Client) RepairApp(ctx context.Context, o wire.Options, name string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/apps/"+url.PathEscape(name)+"/repair", options(o), nil)
}

// DebugApp replaces the process of an app.
func (c *Client) DebugApp(ctx context.Context, o wire.Options, name string, command []string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/apps/"+url.PathEscape(name)+"/debug", options(o), wire.AppDebug{Command: command})
}

// CloneApp copies an app and its data under another name.
func (c *Client) CloneApp(ctx context.Context, o wire.Options, name, as, domain string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/apps/"+url.PathEscape(name)+"/clone", with(with(options(o), "as", as), "domain", domain), nil)
}

// AppStats is how much of the host an app used, oldest first.
func (c *Client) AppStats(ctx context.Context, name string) ([]wire.AppSample, error) {
	return get[[]wire.AppSample](ctx, c, "/apps/"+url.PathEscape(name)+"/stats", nil)
}
