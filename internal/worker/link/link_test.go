package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// pair connects two sides, which run until the test ends.
func pair(t *testing.T, a, b Config) (*Link, *Link, <-chan error) {
	t.Helper()
	c, d := net.Pipe()
	la, lb := New(c, a), New(d, b)
	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, l := range []*Link{la, lb} {
		group.Go(func() { ended <- l.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); group.Wait() })
	return la, lb, ended
}

func echo(_ context.Context, method string, params json.RawMessage) (any, error) {
	if method == "fail" {
		return nil, errors.New("no such thing")
	}
	var s string
	err := json.Unmarshal(params, &s)
	return method + " " + s, err
}

func TestBothSidesAsk(t *testing.T) {
	// With one goroutine each, both sides are full at once.
	a, b, _ := pair(t, Config{MaxFrame: 1 << 20, Handle: echo, Handlers: 1}, Config{MaxFrame: 1 << 20, Handle: echo, Handlers: 1})
	var group sync.WaitGroup
	for _, l := range []*Link{a, b} {
		for i := range 200 {
			group.Go(func() {
				var got string
				want := fmt.Sprint("say ", i)
				if err := l.Ask(t.Context(), "say", fmt.Sprint(i), &got); err != nil || got != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			})
		}
	}
	group.Wait()
	var remote *RemoteError
	if err := a.Ask(t.Context(), "fail", "", nil); !errors.As(err, &remote) || remote.Text != "no such thing" {
		t.Errorf("got %v", err)
	}
}

func TestRawAndNotesArriveInOrder(t *testing.T) {
	got := make(chan string, 10)
	a, _, _ := pair(t, Config{}, Config{MaxFrame: 100, Raw: func(b []byte) { got <- string(b) }, Handle: func(_ context.Context, m string, _ json.RawMessage) (any, error) {
		got <- m
		return nil, nil
	}})
	for _, s := range []string{"one", "two", "three"} {
		if err := a.SendRaw([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if g := <-got; g != s {
			t.Errorf("got %q, want %q", g, s)
		}
	}
	if err := a.Tell("note", nil); err != nil || <-got != "note" {
		t.Errorf("note: %v", err)
	}
}

func TestWhatIsTooMuchEndsTheLink(t *testing.T) {
	for name, send := range map[string]func(*Link) error{
		"a long frame":       func(l *Link) error { return l.SendRaw([]byte(strings.Repeat("x", 101))) },
		"no message":         func(l *Link) error { return l.frame(kindMessage, []byte("{")) },
		"of no known kind":   func(l *Link) error { return l.frame(7, nil) },
		"a message of array": func(l *Link) error { return l.frame(kindMessage, []byte("[]")) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b, ended := pair(t, Config{MaxFrame: 100}, Config{MaxFrame: 100})
			if err := send(a); err != nil && !strings.Contains(err.Error(), "closed pipe") {
				t.Error(err)
			}
			first, second := <-ended, <-ended
			if (first == nil) == (second == nil) {
				t.Errorf("got %v and %v, want an error from the side that was told too much", first, second)
			}
			if err := b.Ask(t.Context(), "x", nil, nil); !errors.Is(err, ErrClosed) {
				t.Errorf("ask after the end: %v", err)
			}
		})
	}
}

func TestQuestionsEndWithTheLink(t *testing.T) {
	asked := make(chan struct{})
	a, b, _ := pair(t, Config{MaxFrame: 100}, Config{MaxFrame: 100, Handle: func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	answer := make(chan error)
	go func() { answer <- a.Ask(t.Context(), "wait", nil, nil) }()
	<-asked
	b.rw.Close()
	if err := <-answer; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c, _, _ := pair(t, Config{}, Config{MaxFrame: 100, Handle: func(ctx context.Context, _ string, _ json.RawMessage) (any, error) { <-ctx.Done(); return nil, nil }})
	if err := c.Ask(ctx, "wait", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Who writes to a side that reads nothing is not stuck: the link ends, for all that wait.
func TestOtherSideIsDeaf(t *testing.T) {
	c, d := net.Pipe()
	defer d.Close() // which nobody reads from
	l := New(c, Config{MaxFrame: 100, WriteWithin: 50 * time.Millisecond})
	ended := make(chan error, 1)
	go func() { ended <- l.Run(t.Context()) }()
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := l.Ask(t.Context(), "say", "x", nil); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	group.Wait()
	<-ended
	if err := l.Tell("say", "x"); err == nil {
		t.Error("a link that has ended takes notes")
	}
}
