package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/upstream"
)

func get[O any](ctx context.Context, c *Client, path string, q url.Values) (O, error) {
	return call[O](ctx, c, request{method: http.MethodGet, path: path, query: q})
}

func change(ctx context.Context, c *Client, method, path string, q url.Values, body any) (wire.ChangeResult, error) {
	return call[wire.ChangeResult](ctx, c, request{method: method, path: path, query: q, body: body})
}

// Status is the host at a glance.
func (c *Client) Status(ctx context.Context) (wire.Status, error) {
	return get[wire.Status](ctx, c, "/status", nil)
}

// Health is what is wrong with the host.
func (c *Client) Health(ctx context.Context) ([]health.Condition, error) {
	return get[[]health.Condition](ctx, c, "/health", nil)
}

// Document is the document of a revision, 0 for the current one, as "json" or "yaml".
func (c *Client) Document(ctx context.Context, revision int64, format string) ([]byte, error) {
	q := with(nil, "format", format)
	if revision != 0 {
		q.Set("revision", fmt.Sprint(revision))
	}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: "/document", query: q})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// Apply replaces the whole document by data, YAML or JSON; file is its name, for messages.
func (c *Client) Apply(ctx context.Context, o wire.Options, file string, data []byte) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPut, "/document", with(options(o), "file", file), data)
}

// Plan says what Apply would do.
func (c *Client) Plan(ctx context.Context, o wire.Options, file string, data []byte) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/plan", with(options(o), "file", file), data)
}

// Revisions is the history, newest first; before 0 begins with the newest.
func (c *Client) Revisions(ctx context.Context, limit int, before int64) ([]wire.Revision, error) {
	return get[[]wire.Revision](ctx, c, "/revisions", url.Values{"limit": {fmt.Sprint(limit)}, "before": {fmt.Sprint(before)}})
}

// Revision is one revision.
func (c *Client) Revision(ctx context.Context, id int64) (wire.Revision, error) {
	return get[wire.Revision](ctx, c, fmt.Sprintf("/revisions/%d", id), nil)
}

// Diff is how two revisions differ; to 0 is the current one.
func (c *Client) Diff(ctx context.Context, from, to int64) ([]wire.FieldChange, error) {
	return get[[]wire.FieldChange](ctx, c, "/diff", url.Values{"from": {fmt.Sprint(from)}, "to": {fmt.Sprint(to)}})
}

// Rollback goes back to the content of a revision.
func (c *Client) Rollback(ctx context.Context, o wire.Options, id int64) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/rollback", options(o), wire.RollbackRequest{Revision: id})
}

// Confirm keeps the change that waits for a confirmation.
func (c *Client) Confirm(ctx context.Context) (wire.Revision, error) {
	return call[wire.Revision](ctx, c, request{method: http.MethodPost, path: "/confirm"})
}

// Ports are the open ports.
func (c *Client) Ports(ctx context.Context) ([]firewall.Port, error) {
	return get[[]firewall.Port](ctx, c, "/ports", nil)
}

// OpenPorts opens ports.
func (c *Client) OpenPorts(ctx context.Context, o wire.Options, r wire.PortRequest) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/ports", options(o), r)
}

// ClosePorts closes ports by name, or as "8080" or "8080/tcp".
func (c *Client) ClosePorts(ctx context.Context, o wire.Options, names ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/ports", with(options(o), "name", names...), nil)
}

// Blocks are the blocks in force.
func (c *Client) Blocks(ctx context.Context) ([]firewall.Block, error) {
	return get[[]firewall.Block](ctx, c, "/blocks", nil)
}

// Block blocks targets.
func (c *Client) Block(ctx context.Context, o wire.Options, r wire.BlockRequest) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/blocks", options(o), r)
}

// Unblock takes targets out of every block.
func (c *Client) Unblock(ctx context.Context, o wire.Options, targets ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/blocks", with(options(o), "target", targets...), nil)
}

// Allowed is the always-allow list.
func (c *Client) Allowed(ctx context.Context) ([]firewall.Allow, error) {
	return get[[]firewall.Allow](ctx, c, "/allow", nil)
}

// Allow puts targets on the always-allow list.
func (c *Client) Allow(ctx context.Context, o wire.Options, r wire.AllowRequest) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/allow", options(o), r)
}

// Unallow takes targets off the always-allow list.
func (c *Client) Unallow(ctx context.Context, o wire.Options, targets ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/allow", with(options(o), "target", targets...), nil)
}

// Feeds are the feeds with what is known of their copies.
func (c *Client) Feeds(ctx context.Context) ([]wire.FeedStatus, error) {
	return get[[]wire.FeedStatus](ctx, c, "/feeds", nil)
}

// Presets are the feeds that are known by name.
func (c *Client) Presets(ctx context.Context) ([]wire.Preset, error) {
	return get[[]wire.Preset](ctx, c, "/feeds/presets", nil)
}

// AddFeed adds a feed.
func (c *Client) AddFeed(ctx context.Context, o wire.Options, r wire.FeedRequest) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/feeds", options(o), r)
}

// RemoveFeeds removes feeds.
func (c *Client) RemoveFeeds(ctx context.Context, o wire.Options, names ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/feeds", with(options(o), "name", names...), nil)
}

// UpdateFeeds fetches feeds now; it may take minutes.
func (c *Client) UpdateFeeds(ctx context.Context, r wire.FeedUpdateRequest) ([]wire.FeedStatus, error) {
	return call[[]wire.FeedStatus](ctx, c, request{method: http.MethodPost, path: "/feeds/update", body: r})
}

// Geo is the geo rules and the data behind them.
func (c *Client) Geo(ctx context.Context) (wire.GeoStatus, error) {
	return get[wire.GeoStatus](ctx, c, "/geo", nil)
}

// AddGeo adds countries to a geo rule.
func (c *Client) AddGeo(ctx context.Context, o wire.Options, r wire.GeoRequest) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/geo", options(o), r)
}

// RemoveGeo takes countries out of a geo rule; no countries means all.
func (c *Client) RemoveGeo(ctx context.Context, o wire.Options, action string, countries, ports []string) (wire.ChangeResult, error) {
	q := with(with(with(options(o), "action", action), "country", countries...), "port", ports...)
	return change(ctx, c, http.MethodDelete, "/geo", q, nil)
}

// UpdateGeo reads the country data anew; it may take minutes.
func (c *Client) UpdateGeo(ctx context.Context) (wire.GeoStatus, error) {
	return call[wire.GeoStatus](ctx, c, request{method: http.MethodPost, path: "/geo/update"})
}

// Countries are those that geo rules can name.
func (c *Client) Countries(ctx context.Context) ([]wire.Country, error) {
	return get[[]wire.Country](ctx, c, "/geo/countries", nil)
}

// LookupGeo says where an address belongs.
func (c *Client) LookupGeo(ctx context.Context, address string) (wire.GeoLookup, error) {
	return get[wire.GeoLookup](ctx, c, "/geo/lookup", with(nil, "address", address))
}

// Limits are the limit classes.
func (c *Client) Limits(ctx context.Context) ([]wire.LimitStatus, error) {
	return get[[]wire.LimitStatus](ctx, c, "/limits", nil)
}

// SetLimit sets a limit class.
func (c *Client) SetLimit(ctx context.Context, o wire.Options, name, limit string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPut, "/limits/"+name, options(o), wire.LimitRequest{Limit: limit})
}

// ResetLimit sets a limit class back to its default.
func (c *Client) ResetLimit(ctx context.Context, o wire.Options, name string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/limits/"+name, options(o), nil)
}

// Bans are the banned sources.
func (c *Client) Bans(ctx context.Context) ([]wire.Ban, error) {
	return get[[]wire.Ban](ctx, c, "/bans", nil)
}

// Unban lifts the bans of targets.
func (c *Client) Unban(ctx context.Context, targets ...string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: "/bans", query: with(nil, "target", targets...)})
	return err
}

// Strike reports a source that misbehaved.
func (c *Client) Strike(ctx context.Context, r wire.StrikeRequest) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodPost, path: "/strikes", body: r})
	return err
}

// Top is who is being refused, and why.
func (c *Client) Top(ctx context.Context) (wire.Top, error) {
	return get[wire.Top](ctx, c, "/top", nil)
}

// Drops are the newest refused packets, oldest first.
func (c *Client) Drops(ctx context.Context, after uint64, limit int) ([]wire.Drop, error) {
	return get[[]wire.Drop](ctx, c, "/drops", url.Values{"after": {fmt.Sprint(after)}, "limit": {fmt.Sprint(limit)}})
}

// Question is what Explain asks; only the address is needed.
type Question struct{ Address, Port, Protocol, Interface, App string }

// Explain says what happens to a new flow, and why.
func (c *Client) Explain(ctx context.Context, x Question) (wire.Explanation, error) {
	q := with(with(with(with(with(nil, "address", x.Address), "port", x.Port), "protocol", x.Protocol), "interface", x.Interface), "app", x.App)
	return get[wire.Explanation](ctx, c, "/explain", q)
}

// SetFirewall switches the firewall, or chooses its driver.
func (c *Client) SetFirewall(ctx context.Context, o wire.Options, r wire.FirewallRequest) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPut, "/firewall", options(o), r)
}

// Doctor looks for what is wrong; with probe it also scans the host from outside.
func (c *Client) Doctor(ctx context.Context, probe bool) ([]wire.Finding, error) {
	return get[[]wire.Finding](ctx, c, "/doctor", url.Values{"probe": {fmt.Sprint(probe)}})
}

// Routes are the routes of the proxy.
func (c *Client) Routes(ctx context.Context) ([]proxy.Route, error) {
	return get[[]proxy.Route](ctx, c, "/routes", nil)
}

// AddRoute adds a route; with replace it takes the place of one for the same host and path.
func (c *Client) AddRoute(ctx context.Context, o wire.Options, r proxy.Route, replace bool) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPut, "/routes", with(options(o), "replace", fmt.Sprint(replace)), r)
}

// Streams are the streams of the proxy.
func (c *Client) Streams(ctx context.Context) ([]proxy.Stream, error) {
	return get[[]proxy.Stream](ctx, c, "/streams", nil)
}

// AddStream adds a stream, or does what the options say with the one that is there.
func (c *Client) AddStream(ctx context.Context, o wire.Options, s proxy.Stream, how wire.StreamOptions) (wire.ChangeResult, error) {
	q := with(options(o), "replace", fmt.Sprint(how.Replace))
	return change(ctx, c, http.MethodPut, "/streams", with(q, "join", fmt.Sprint(how.Join)), s)
}

// RemoveStreams removes streams by port and protocol.
func (c *Client) RemoveStreams(ctx context.Context, o wire.Options, keys ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/streams", with(options(o), "name", keys...), nil)
}

// RemoveRoutes removes routes by host and path.
func (c *Client) RemoveRoutes(ctx context.Context, o wire.Options, keys ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/routes", with(options(o), "name", keys...), nil)
}

// Proxy is the proxy at a glance.
func (c *Client) Proxy(ctx context.Context) (wire.ProxyStatus, error) {
	return get[wire.ProxyStatus](ctx, c, "/proxy", nil)
}

// TestProxy says what is wrong with a configuration of the proxy; file is its name, for messages.
func (c *Client) TestProxy(ctx context.Context, file string, data []byte) (wire.ProxyTest, error) {
	return call[wire.ProxyTest](ctx, c, request{method: http.MethodPost, path: "/proxy/test", query: with(nil, "file", file), body: data})
}

// ProxyLog lists the newest requests.
func (c *Client) ProxyLog(ctx context.Context, f wire.AccessFilter, limit int) ([]wire.Access, error) {
	q := accessFilter(f)
	q.Set("limit", fmt.Sprint(limit))
	return get[[]wire.Access](ctx, c, "/proxy/log", q)
}

// ProxyTop is which routes and clients make the load.
func (c *Client) ProxyTop(ctx context.Context) (wire.ProxyTop, error) {
	return get[wire.ProxyTop](ctx, c, "/proxy/top", nil)
}

func accessFilter(f wire.AccessFilter) url.Values {
	q := url.Values{}
	for _, v := range [][2]string{{"host", f.Host}, {"client", f.Client}, {"status", f.Status}, {"path", f.Path}} {
		with(q, v[0], v[1])
	}
	return q
}

// Upstreams are the groups of back ends, each with how its servers are.
func (c *Client) Upstreams(ctx context.Context) ([]wire.Upstream, error) {
	return get[[]wire.Upstream](ctx, c, "/upstreams", nil)
}

// Upstream is one group of back ends.
func (c *Client) Upstream(ctx context.Context, name string) (wire.Upstream, error) {
	return get[wire.Upstream](ctx, c, "/upstreams/"+url.PathEscape(name), nil)
}

// AddUpstream adds a group; with replace it takes the place of one with that name.
func (c *Client) AddUpstream(ctx context.Context, o wire.Options, g upstream.Group, replace bool) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPut, "/upstreams", with(options(o), "replace", fmt.Sprint(replace)), g)
}

// EditUpstream changes a group.
func (c *Client) EditUpstream(ctx context.Context, o wire.Options, name string, x upstream.Edit) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPatch, "/upstreams/"+url.PathEscape(name), options(o), x)
}

// RemoveUpstreams removes groups.
func (c *Client) RemoveUpstreams(ctx context.Context, o wire.Options, names ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/upstreams", with(options(o), "name", names...), nil)
}

// Pages are error pages of one's own.
func (c *Client) Pages(ctx context.Context) ([]wire.ProxyPage, error) {
	return get[[]wire.ProxyPage](ctx, c, "/pages", nil)
}

// SetPage sets the forms of a page that p has.
func (c *Client) SetPage(ctx context.Context, o wire.Options, p wire.ProxyPage) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPut, "/pages", options(o), p)
}

// RemovePages removes pages of a route, or of all.
func (c *Client) RemovePages(ctx context.Context, o wire.Options, route string, names ...string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodDelete, "/pages", with(with(options(o), "route", route), "name", names...), nil)
}

// PurgeProxy drops stored answers.
func (c *Client) PurgeProxy(ctx context.Context, what string) (wire.PurgeResult, error) {
	return call[wire.PurgeResult](ctx, c, request{method: http.MethodPost, path: "/proxy/purge", body: wire.PurgeRequest{What: what}})
}
