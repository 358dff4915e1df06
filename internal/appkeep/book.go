package appkeep

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/platformd/platformd/apps"
)

// State is how an app is.
type State string

// The states.
const (
	Waiting   State = "waiting" // for the engine, or for its turn
	Starting  State = "starting"
	Running   State = "running" // and healthy
	Unhealthy State = "unhealthy"
	Updating  State = "updating"
	Stopped   State = "stopped"
	Debugging State = "debugging" // another program runs in the place of its own
	Failed    State = "failed"    // it ends again and again, or cannot be made
)

// Status is one app at a glance.
type Status struct {
	Name  string
	State State
	// Reason says why it is not Running, Since is when it came to be so.
	Reason string
	Since  time.Time
	// Restarts counts how often its container ended by itself since it was last changed.
	Restarts int
	// UpdateFailed says why the last update was taken back; a new one clears it.
	UpdateFailed string
	// Settled is that nothing is being worked on, and that what the document wants by now was looked at.
	Settled bool
}

// book is what the keeper remembers of an app; its mutex is the keeper's.
type book struct {
	status Status
	busy   bool
	phase  apps.Phase
	// ends are how often the container ended by itself in a row, startAt when it may be started again, started when it was.
	ends    int
	startAt time.Time
	started time.Time
	// failures are health checks that failed in a row, checkAt is when the next one is due.
	failures int
	checkAt  time.Time
	checking bool
	// retry is the pause after work that failed.
	retry  time.Duration
	series series
	// asked is the digest of what all this was counted for.
	asked string
	// seen is the wish that was last found to be fulfilled, or that work failed on.
	seen string
}

func (k *Keeper) book(app string) *book {
	b := k.apps[app]
	if b == nil {
		b = &book{status: Status{Name: app, State: Waiting, Since: k.cfg.Now()}}
		k.apps[app] = b
	}
	return b
}

// set notes a state, and tells whoever follows.
func (k *Keeper) set(app string, s State, reason string) {
	k.mu.Lock()
	b := k.book(app)
	same := b.status.State == s && b.status.Reason == reason
	if b.status.State != s {
		b.status.Since = k.cfg.Now()
	}
	b.status.State, b.status.Reason = s, reason
	k.mu.Unlock()
	if !same {
		k.news.tell(Event{App: app, State: s, Text: reason})
	}
}

// Status is how an app is; an unknown one waits.
func (k *Keeper) Status(a *apps.App) Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.apps[a.Name]
	if b == nil {
		return Status{Name: a.Name, State: Waiting}
	}
	st := b.status
	st.Settled = !b.busy && a.Next == nil && b.seen == wish(a)
	return st
}

// wish names what the document says of an app.
func wish(a *apps.App) string {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // it was read from a document
	}
	sum := sha256.Sum256(b)
	return string(sum[:])
}

// Engine says why the engine cannot be used, or nil.
func (k *Keeper) Engine() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}
