package wire

import (
	"encoding/json"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/upstream"
)

// DefaultSocket is where the API listens.
const DefaultSocket = "/run/platform/api.sock"

// Options say how a change is made. Every changing request has them as query parameters.
type Options struct {
	DryRun bool  `query:"dry_run" doc:"Say what would change, and change nothing."`
	Force  bool  `query:"force" doc:"Skip the lock-out guard and the check for own addresses."`
	Base   int64 `query:"base" doc:"The revision that the change was made from; another current revision is a conflict. 0 is any."`
}

// ChangeResult says what a change did, or with a dry run would do.
type ChangeResult struct {
	Revision int64         `json:"revision" doc:"The revision that is current now."`
	Changed  bool          `json:"changed" doc:"False where the document said so already."`
	DryRun   bool          `json:"dry_run,omitempty"`
	Document []FieldChange `json:"document" doc:"How the document changes."`
	// Kernel is what changes in the kernel: for a dry run what would, else nothing.
	Kernel   []firewall.Change `json:"kernel,omitempty" doc:"With a dry run: what would change in the kernel."`
	Verified bool              `json:"verified" doc:"The kernel was read back and agrees."`
	// Confirm is set where the change reverts by itself unless it is confirmed.
	Confirm  *Provisional `json:"confirm,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`
	Closed   int          `json:"closed_connections,omitempty" doc:"Open connections that were cut off."`
}

// FieldChange is one difference between two documents.
type FieldChange struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Provisional is a change that waits for a confirmation.
type Provisional struct {
	Revision int64     `json:"revision"`
	Deadline time.Time `json:"deadline"`
	Reason   string    `json:"reason"`
}

// Status is the host at a glance.
type Status struct {
	Version    string             `json:"version"`
	Started    time.Time          `json:"started"`
	Revision   int64              `json:"revision"`
	Firewall   FirewallStatus     `json:"firewall"`
	Counts     Counts             `json:"counts"`
	Confirm    *Provisional       `json:"confirm,omitempty"`
	Conditions []health.Condition `json:"conditions"`
}

// FirewallStatus says whether the policy is in force.
type FirewallStatus struct {
	Enabled  bool      `json:"enabled"`
	Driver   string    `json:"driver"`
	Verified bool      `json:"verified" doc:"The kernel was read back and agrees with the current revision."`
	Checked  time.Time `json:"checked,omitzero"`
}

// Counts are the sizes of what the firewall holds.
type Counts struct {
	Ports      int `json:"ports"`
	Allow      int `json:"allow"`
	Blocks     int `json:"blocks"`
	Bans       int `json:"bans"`
	Feeds      int `json:"feeds"`
	FeedRanges int `json:"feed_ranges"`
	GeoRules   int `json:"geo_rules"`
	GeoRanges  int `json:"geo_ranges"`
}

// Revision is one version of the document.
type Revision struct {
	ID      int64     `json:"id"`
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`
	Source  string    `json:"source,omitempty"`
	Summary string    `json:"summary"`
	Parent  int64     `json:"parent,omitempty"`
	// Deadline is set for a change that waits, or waited, for a confirmation; Settled says how that ended.
	Deadline time.Time `json:"deadline,omitzero"`
	Settled  string    `json:"settled,omitempty" doc:"confirmed, reverted, or empty while it waits."`
}

// Ban is one banned source.
type Ban struct {
	Target string    `json:"target"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Count  int       `json:"count" doc:"How many times the source was banned, this one included."`
	Detail string    `json:"detail,omitempty" doc:"What the last strike was."`
}

// FeedStatus is a feed with what is known about its last good copy.
type FeedStatus struct {
	firewall.Feed
	Ranges    int       `json:"ranges"`
	Dropped   int       `json:"dropped" doc:"Ranges that were left out: private, own, always allowed, or too large."`
	Checked   time.Time `json:"checked,omitzero"`
	Changed   time.Time `json:"changed,omitzero"`
	Next      time.Time `json:"next,omitzero"`
	LastError string    `json:"last_error,omitempty"`
}

// GeoStatus is the geo rules and the data behind them.
type GeoStatus struct {
	Rules     []GeoRuleStatus `json:"rules"`
	Sources   []string        `json:"sources"`
	Loaded    time.Time       `json:"loaded,omitzero"`
	Countries int             `json:"countries"`
	RangesV4  int             `json:"ranges_v4"`
	RangesV6  int             `json:"ranges_v6"`
	LastError string          `json:"last_error,omitempty"`
}

// GeoRuleStatus is a geo rule with the size of its set.
type GeoRuleStatus struct {
	firewall.GeoRule
	Ranges int `json:"ranges"`
}

// GeoLookup says where an address belongs.
type GeoLookup struct {
	Address string `json:"address"`
	Country string `json:"country,omitempty"`
	Name    string `json:"name,omitempty"`
	Range   string `json:"range,omitempty"`
}

// Country is a country that geo rules can name.
type Country struct {
	Code string `json:"code" doc:"ISO 3166-1 alpha-2."`
	Name string `json:"name"`
}

// LimitStatus is a limit class.
type LimitStatus struct {
	Name        string `json:"name"`
	Limit       string `json:"limit"`
	Default     string `json:"default,omitempty"`
	Description string `json:"description,omitempty"`
	PerApp      bool   `json:"per_app,omitempty"`
	WhenFull    string `json:"when_full,omitempty" doc:"What happens to new sources when the memory of sources is full: admit or refuse."`
}

// Drop is one refused packet.
type Drop struct {
	Seq         uint64          `json:"seq"`
	Time        time.Time       `json:"time"`
	Reason      firewall.Reason `json:"reason"`
	Protocol    string          `json:"protocol"`
	Source      string          `json:"source"`
	SourcePort  uint16          `json:"source_port,omitempty"`
	Destination string          `json:"destination"`
	Port        uint16          `json:"port,omitempty"`
	Interface   string          `json:"interface,omitempty"`
}

// Top is who is being refused and why, out of the logged packets, with the exact counters beside them.
type Top struct {
	Since    time.Time          `json:"since"`
	Sources  []TopEntry         `json:"sources"`
	Ports    []TopEntry         `json:"ports"`
	Counters []firewall.Counter `json:"counters"`
	// Lost is how many logged packets did not fit into memory.
	Lost uint64 `json:"lost"`
}

// TopEntry is one line of Top.
type TopEntry struct {
	Key     string `json:"key"`
	Packets uint64 `json:"packets"`
	Reason  string `json:"reason"`
	Country string `json:"country,omitempty"`
}

// Explanation is a verdict with what stands behind it.
type Explanation struct {
	Address string           `json:"address"`
	Verdict firewall.Verdict `json:"verdict"`
	// Behind names what put the address there: the block and its reason, the feeds, the country, the ban's cause.
	Behind []string `json:"behind,omitempty"`
	// Kernel says whether each set that was asked agrees; Disagree names those that do not.
	Kernel   string   `json:"kernel" doc:"agrees, disagrees, or not checked"`
	Disagree []string `json:"disagree,omitempty"`
}

// Finding is one thing that doctor looked at.
type Finding struct {
	Check  string `json:"check"`
	State  string `json:"state" doc:"ok, warning, failed or skipped"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Preset is a feed that is known by name.
type Preset struct {
	firewall.Feed
	Title string `json:"title"`
	Note  string `json:"note" doc:"What it lists, and the terms of its maintainer."`
}

// ProxyStatus is the proxy at a glance.
type ProxyStatus struct {
	HTTP  string `json:"http,omitempty" doc:"Where plain HTTP is listened for."`
	HTTPS string `json:"https,omitempty" doc:"Where HTTPS and HTTP/3 are listened for."`
	// Serving is false where no worker runs, or none that was told what to serve.
	Serving     bool  `json:"serving"`
	Routes      int   `json:"routes"`
	Connections int64 `json:"connections"`
	Dropped     int64 `json:"dropped_log_records"`
	// DroppedStrikes were too many, or came while there was no daemon.
	DroppedStrikes int64                `json:"dropped_strikes"`
	Stats          proxy.Statistics     `json:"stats"`
	Upstreams      []upstream.Status    `json:"upstreams,omitempty" doc:"How the servers of groups are."`
	Streams        []proxy.StreamStatus `json:"streams,omitempty" doc:"Streams that are served, with their counts."`
	Weak           []string             `json:"weak,omitempty" doc:"In what the worker is confined less than it should be."`
}

// Upstream is a group of back ends, with the routes that lead to it and with how its servers are. Status is empty while the proxy
// does not run.
type Upstream struct {
	upstream.Group
	Routes []string          `json:"routes"`
	Status []upstream.Status `json:"status"`
}

// ProxyTest is what is to be said of a configuration that is right.
type ProxyTest struct {
	Routes  int `json:"routes"`
	Streams int `json:"streams"`
}
