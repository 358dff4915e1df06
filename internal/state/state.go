// Package state keeps what the operator wants of the host: one typed document, and every version of it there has been.
//
// The model in words. State is the document. A Store holds the current one in memory and every revision in SQLite. Update
// hands a copy to a function, validates what comes back, writes a revision, and returns when it is on disk; a caller who
// names the revision that the change was made from gets ErrConflict where somebody else was faster. A document that did
// not change makes no revision. Nothing is ever edited: a rollback is a new revision with old content.
//
// A provisional revision holds until its deadline: it is confirmed, or RevertExpired makes a new revision with the content
// of its predecessor. The deadline is on disk with the revision, so a daemon that was killed meanwhile honours it when it
// comes back; it calls RevertExpired before it reads Current. While a revision is provisional, every other update is
// refused with ErrProvisional, with two exceptions: a rollback settles it, and an update that does nothing but add blocks
// is accepted, because an operator under attack must not have to wait. Blocks added that way survive the revert.
//
// Revisions are stored as the bytes in which they differ from the one before, with a full copy now and then. Beside the
// database lies the current document as a plain file (state.json), from which Open starts where the database is missing.
//
// This package decides nothing about the host and starts no goroutine. It holds no secrets: those are stored encrypted
// elsewhere and the document names them.
package state

import (
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/proxy"
)

// Version is the version of the document that this program writes and reads.
const Version = 1

// State is everything that the operator wants of the host. The zero value is valid: a closed firewall and the default
// settings. Values are read through the WithDefaults methods of its parts.
type State struct {
	Version  int             `json:"version"`
	Firewall firewall.Policy `json:"firewall"`
	Bans     BanPolicy       `json:"bans,omitzero"`
	Proxy    proxy.Config    `json:"proxy,omitzero"`
	Apps     apps.Config     `json:"apps,omitzero"`
	Certs    Certs           `json:"certs,omitzero"`
	Mail     Mail            `json:"mail,omitzero"`
	Settings Settings        `json:"settings,omitzero"`
}

// Mail is whether the host carries mail, and with that, whether its ports are open.
type Mail struct {
	Enabled bool `json:"enabled,omitempty"`
}

// BanPolicy says when a source that misbehaves is banned, and for how long: after Strikes within Window for First, and
// each time again for Factor times as long, up to Max. A zero field means its default.
type BanPolicy struct {
	Disabled bool              `json:"disabled,omitempty"`
	Strikes  int               `json:"strikes,omitempty"` // default 5
	Window   firewall.Duration `json:"window,omitempty"`  // default 10m
	First    firewall.Duration `json:"first,omitempty"`   // default 10m
	Factor   int               `json:"factor,omitempty"`  // default 4
	Max      firewall.Duration `json:"max,omitempty"`     // default 168h
	// Reasons overrides by what the strike was for ("sshd", "login", ...).
	Reasons map[string]BanReason `json:"reasons,omitempty"`
}

// BanReason overrides a BanPolicy for one kind of strike. A zero field means what the policy says.
type BanReason struct {
	Disabled bool              `json:"disabled,omitempty"`
	Strikes  int               `json:"strikes,omitempty"`
	Window   firewall.Duration `json:"window,omitempty"`
	First    firewall.Duration `json:"first,omitempty"`
}

// Settings are the daemon's own. A zero field means its default.
type Settings struct {
	// Guard is how long a change that could lock its author out waits for `platformctl confirm`. Default 60s.
	Guard firewall.Duration `json:"guard,omitempty"`
	// ActivityDays is how long activity records are kept. Default 365.
	ActivityDays int `json:"activity_days,omitempty"`
	// HistoryDays and HistoryKeep: a revision is kept while it is younger than that, or one of that many newest. Defaults
	// 90 and 500.
	HistoryDays int `json:"history_days,omitempty"`
	HistoryKeep int `json:"history_keep,omitempty"`
}

// Default is the document of a new host: SSH and the web are open, within their limit classes.
func Default() State {
	port := func(name string, number uint16, limit string) firewall.Port {
		return firewall.Port{
			Name: name, Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: number, Last: number}}, Limit: limit,
		}
	}
	return State{
		Version: Version,
		Firewall: firewall.Policy{Ports: []firewall.Port{
			port("ssh", 22, "ssh"), port("ssh-alt", 202, "ssh"), port("http", 80, "http"), port("https", 443, "http"),
		}},
	}
}

// WithDefaults is b with every zero field filled in.
func (b BanPolicy) WithDefaults() BanPolicy {
	set(&b.Strikes, 5)
	set(&b.Window, firewall.Duration(10*time.Minute))
	set(&b.First, firewall.Duration(10*time.Minute))
	set(&b.Factor, 4)
	set(&b.Max, max(b.First, firewall.Duration(7*24*time.Hour)))
	return b
}

// For is the policy for one kind of strike, with every zero field filled in.
func (b BanPolicy) For(reason string) BanPolicy {
	r := b.Reasons[reason]
	if r.Strikes > 0 {
		b.Strikes = r.Strikes
	}
	if r.Window > 0 {
		b.Window = r.Window
	}
	if r.First > 0 {
		b.First = r.First
	}
	b.Disabled = b.Disabled || r.Disabled
	return b.WithDefaults()
}

// Duration is how long the nth ban of a source lasts, counted from 0. b has its defaults filled in.
func (b BanPolicy) Duration(nth int) time.Duration {
	d := time.Duration(b.First)
	for range nth {
		if d >= time.Duration(b.Max)/time.Duration(max(b.Factor, 1)) {
			return time.Duration(b.Max)
		}
		d *= time.Duration(b.Factor)
		if b.Factor <= 1 {
			break
		}
	}
	return min(d, time.Duration(b.Max))
}

// WithDefaults is s with every zero field filled in.
func (s Settings) WithDefaults() Settings {
	set(&s.Guard, firewall.Duration(time.Minute))
	set(&s.ActivityDays, 365)
	set(&s.HistoryDays, 90)
	set(&s.HistoryKeep, 500)
	return s
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
