package api

import (
	"context"
	"net/netip"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/upstream"
)

// Caller is who makes a request.
type Caller struct {
	Actor  string // "root", "alice"
	Source string // the address that they are logged in from, or "local"
	PID    int
}

// Change is one wish, in the form in which every wish reaches the host.
type Change struct {
	Caller  Caller
	Options Options
	// Action is the name of the activity record, Object what it concerns, Summary one line for the history.
	Action          activity.Action
	Object, Summary string
	// Edit changes the document; an error refuses the change.
	Edit func(*state.State) error
	// Cut are addresses whose open connections are ended when the change is in force.
	Cut []ranges.Range
}

// Host is what the API needs of the daemon. Errors that wrap ErrInvalid, ErrNotFound, ErrConflict, ErrProvisional or
// ErrLockout are the caller's to mend; every other error is ours.
type Host interface {
	CertHost
	DNSHost
	AppHost
	AppLifeHost
	Status(ctx context.Context) (Status, error)
	// Change validates, guards, stores, applies and verifies. It returns when the kernel agrees, or with Verified false.
	Change(ctx context.Context, c Change) (ChangeResult, error)
	Document(ctx context.Context) (state.State, Revision, error)
	// Plan says what replacing the whole document would change; Replace does it.
	History(ctx context.Context, limit int, before int64) ([]Revision, error)
	DocumentAt(ctx context.Context, revision int64) (state.State, error)
	Diff(ctx context.Context, a, b int64) ([]FieldChange, error)
	Rollback(ctx context.Context, by Caller, o Options, revision int64) (ChangeResult, error)
	Confirm(ctx context.Context, by Caller) (Revision, error)

	Bans(ctx context.Context) ([]Ban, error)
	Unban(ctx context.Context, by Caller, target string) error
	// Strike reports a misbehaving source, as other parts of the product do.
	Strike(ctx context.Context, by Caller, source netip.Addr, reason, detail string) error

	Feeds(ctx context.Context) ([]FeedStatus, error)
	// UpdateFeeds fetches now; no names means all. Force takes a copy that was held back as implausible.
	UpdateFeeds(ctx context.Context, by Caller, names []string, force bool) ([]FeedStatus, error)
	Presets() []Preset

	Geo(ctx context.Context) (GeoStatus, error)
	UpdateGeo(ctx context.Context, by Caller) (GeoStatus, error)
	// Countries are those that geo rules can name.
	Countries() []Country
	LookupGeo(ctx context.Context, a netip.Addr) (GeoLookup, error)

	Proxy(ctx context.Context) (wire.ProxyStatus, error)
	// ProxyLog gives the newest records that pass the filter, oldest first; FollowProxyLog those behind a number, and what comes.
	ProxyLog(ctx context.Context, f wire.AccessFilter, limit int) ([]wire.Access, error)
	FollowProxyLog(ctx context.Context, f wire.AccessFilter, after uint64, send func(wire.Access) error) error
	ProxyTop(ctx context.Context) (wire.ProxyTop, error)
	// Upstreams says how the servers of a group of back ends are now, of all groups for "". Without a worker nobody knows.
	Upstreams(ctx context.Context, group string) ([]upstream.Status, error)
	// PurgeProxy drops stored answers by address, glob or "tag:NAME"; nothing named is all. It says how many.
	PurgeProxy(ctx context.Context, by Caller, what string) (int, error)
	// TestProxy says what is wrong with a configuration that is valid in itself.
	TestProxy(ctx context.Context, c proxy.Config) error

	Limits(ctx context.Context) ([]LimitStatus, error)
	Explain(ctx context.Context, q firewall.Query) (Explanation, error)
	Drops(ctx context.Context, after uint64, limit int) ([]Drop, error)
	// FollowDrops and FollowActivity call send for what is there after the given number and for what comes, until ctx ends
	// or send fails.
	FollowDrops(ctx context.Context, after uint64, send func(Drop) error) error
	Top(ctx context.Context) (Top, error)
	// Doctor looks at the host. With probe it also knocks at the own addresses from outside, which takes up to 20 s.
	Doctor(ctx context.Context, probe bool) ([]Finding, error)

	Activity(ctx context.Context, f activity.Filter) ([]activity.Record, error)
	FollowActivity(ctx context.Context, f activity.Filter, send func(activity.Record) error) error
	VerifyActivity(ctx context.Context) (activity.Report, error)
}
