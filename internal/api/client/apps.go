package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"

	"github.com/platformd/platformd/internal/api/wire"
)

// Apps are the apps of the host.
func (c *Client) Apps(ctx context.Context) ([]wire.App, error) {
	return get[[]wire.App](ctx, c, "/apps", nil)
}

// App is one app.
func (c *Client) App(ctx context.Context, name string) (wire.App, error) {
	return get[wire.App](ctx, c, "/apps/"+url.PathEscape(name), nil)
}

// InstallApp installs an app from its manifest; file is its name, for messages. It returns when the document names the app,
// which is after its image was fetched; FollowApp says how it goes on.
func (c *Client) InstallApp(ctx context.Context, o wire.Options, name, domain, file string, manifest []byte) (wire.ChangeResult, error) {
	q := with(with(with(options(o), "name", name), "domain", domain), "file", file)
	return change(ctx, c, http.MethodPost, "/apps", q, manifest)
}

// UpdateApp puts another version of an app on its way.
func (c *Client) UpdateApp(ctx context.Context, o wire.Options, name, file string, manifest []byte) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/apps/"+url.PathEscape(name)+"/update", with(options(o), "file", file), manifest)
}

// RollbackApp goes back to the version before.
func (c *Client) RollbackApp(ctx context.Context, o wire.Options, name string, keepData bool) (wire.ChangeResult, error) {
	q := options(o)
	if keepData {
		q.Set("keep_data", "true")
	}
	return change(ctx, c, http.MethodPost, "/apps/"+url.PathEscape(name)+"/rollback", q, nil)
}

// ConfigureApp changes what the operator may choose of an app.
func (c *Client) ConfigureApp(ctx context.Context, o wire.Options, name string, in wire.AppConfigure) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPatch, "/apps/"+url.PathEscape(name), options(o), in)
}

// TellApp has an app "start", "stop" or "restart".
func (c *Client) TellApp(ctx context.Context, o wire.Options, name, verb string) (wire.ChangeResult, error) {
	return change(ctx, c, http.MethodPost, "/apps/"+url.PathEscape(name)+"/"+verb, options(o), nil)
}

// UninstallApp removes an app, and its data too where that is said.
func (c *Client) UninstallApp(ctx context.Context, o wire.Options, name string, data bool) (wire.ChangeResult, error) {
	q := options(o)
	if data {
		q.Set("data", "true")
	}
	return change(ctx, c, http.MethodDelete, "/apps/"+url.PathEscape(name), q, nil)
}

// FollowApp gives the events of an app behind a number, and then each as it comes; -1 is only those that come.
func (c *Client) FollowApp(ctx context.Context, name string, after int64) iter.Seq2[wire.AppEvent, error] {
	return events[wire.AppEvent](ctx, c, "/apps/"+url.PathEscape(name)+"/events", url.Values{"after": {fmt.Sprint(after)}})
}

// AppLogs gives what an app wrote: the last lines, and with follow those that come. It ends by itself without follow.
func (c *Client) AppLogs(ctx context.Context, name string, tail int, follow bool) iter.Seq2[wire.AppLine, error] {
	return events[wire.AppLine](ctx, c, "/apps/"+url.PathEscape(name)+"/logs", url.Values{"tail": {fmt.Sprint(tail)}, "follow": {fmt.Sprint(follow)}})
}

// Set writes one field of the document, by its path.
func (c *Client) Set(ctx context.Context, o wire.Options, path, value string) (wire.ChangeResult, error) {
	q := options(o)
	q.Set("path", path)
	q.Set("value", value)
	return change(ctx, c, http.MethodPut, "/settings", q, nil)
}
