package appkeep

import (
	"context"
	"sync"
	"time"
)

// newsKept is how many events are remembered, of all apps together.
const newsKept = 2000

// Event is one thing that happened to an app: a step of long work, or a new state.
type Event struct {
	Seq int64
	At  time.Time
	App string
	// State is set where the event is a new state.
	State State
	Text  string
	// Done of Total bytes of Text are there; zero is unknown.
	Done, Total int64
}

// news is a ring of events that many can follow.
type news struct {
	now     func() time.Time
	mu      sync.Mutex
	last    int64
	ring    []Event
	changed chan struct{}
}

func newNews(now func() time.Time) *news { return &news{now: now, changed: make(chan struct{})} }

func (n *news) tell(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	e.Seq, e.At = n.last, n.now()
	// Progress of the same thing takes the place of what it said before.
	if l := len(n.ring); l > 0 && e.Total > 0 && n.ring[l-1].App == e.App && n.ring[l-1].Total > 0 && n.ring[l-1].Text == e.Text {
		n.ring = n.ring[:l-1]
	}
	n.ring = append(n.ring, e)
	if len(n.ring) > 2*newsKept {
		n.ring = append([]Event(nil), n.ring[len(n.ring)-newsKept:]...)
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// Tell adds an event of long work that somebody else does for an app, such as fetching its image.
func (k *Keeper) Tell(e Event) { k.news.tell(e) }

// Last is the number of the newest event.
func (k *Keeper) Last() int64 {
	k.news.mu.Lock()
	defer k.news.mu.Unlock()
	return k.news.last
}

// Follow calls send for the events of an app behind a number, and for those that come, until ctx ends or send fails. An
// empty name is every app.
func (k *Keeper) Follow(ctx context.Context, app string, after int64, send func(Event) error) error {
	n := k.news
	for {
		n.mu.Lock()
		var found []Event
		for _, e := range n.ring {
			if e.Seq > after && (app == "" || e.App == app) {
				found = append(found, e)
			}
		}
		changed := n.changed
		n.mu.Unlock()
		for _, e := range found {
			if err := send(e); err != nil {
				return err
			}
			after = e.Seq
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
