package upstream

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"net/http"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream/h1"
)

func ptr[T any](v T) *T { return &v }

func TestEdit(t *testing.T) {
	before := func() Group {
		return Group{Name: "app", Servers: []Server{{URL: "http://a", Weight: 2, Backup: true}, {URL: "https://b", SNIName: "b.test"}}, Retries: 3, Health: &Health{Path: "/up", Unhealthy: 5}}
	}
	g := before()
	err := g.Edit(Edit{Add: []Server{{URL: "http://c"}}, Remove: []string{"http://a"}, Set: []ServerEdit{{URL: "https://b", Weight: ptr(7), Drain: ptr(true)}},
		Algorithm: ptr(IPHash), MaxConnections: ptr(9), SlowStart: ptr(field.Duration(time.Minute)), Health: &Health{Interval: field.Duration(time.Second)}})
	want := Group{Name: "app", Servers: []Server{{URL: "https://b", SNIName: "b.test", Weight: 7, Drain: true}, {URL: "http://c"}}, Retries: 3, Algorithm: IPHash, MaxConnections: 9,
		SlowStart: field.Duration(time.Minute), Health: &Health{Path: "/up", Unhealthy: 5, Interval: field.Duration(time.Second)}}
	if err != nil || !reflect.DeepEqual(g, want) {
		t.Errorf("got %+v, %v", g, err)
	}
	// Another type of check knows no path.
	if err := g.Edit(Edit{Health: &Health{Type: checkTCP}}); err != nil || g.Health.Path != "" || g.Health.Unhealthy != 5 || g.Validate() != nil {
		t.Errorf("got %+v, %v", g.Health, err)
	}
	if err := g.Edit(Edit{NoHealth: true}); err != nil || g.Health != nil {
		t.Errorf("got %+v, %v", g.Health, err)
	}
	// What it was made of is nobody's but the caller's.
	g = before()
	kept := g
	if err := kept.Edit(Edit{Set: []ServerEdit{{URL: "http://a", Backup: ptr(false)}}, Health: &Health{Path: "/other"}}); err != nil || !reflect.DeepEqual(g, before()) {
		t.Errorf("a copy was changed too: %+v, %v", g, err)
	}
	err = g.Edit(Edit{Add: []Server{{URL: "https://b"}}, Remove: []string{"http://x"}, Set: []ServerEdit{{URL: "http://y"}}, NoHealth: true, Health: &Health{}})
	for _, want := range []string{`add: "https://b" is in group "app" already`, `remove: group "app" has no server "http://x"`, `set: group "app" has no server "http://y"`, "no_health: does not go with health"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %q in %v", want, err)
		}
	}
}

// TestDrain: a server that drains gets no new requests, keeps the one that is under way, and comes back.
func TestDrain(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	for _, algorithm := range []string{RoundRobin, LeastConn, IPHash, PowerOfTwo} {
		r := newRig(t, Group{Servers: servers(a, b), Algorithm: algorithm})
		list := servers(a, b)
		list[0].Drain = true
		hold := make(chan struct{})
		a.held.Store(&hold)
		b.held.Store(&hold)
		before, all := a.seen.Load(), a.seen.Load()+b.seen.Load()
		done := make(chan string, 64)
		for range 64 { // so many that both have some, by address too
			go func(from string) {
				name, _ := r.send(context.Background(), &h1.Request{Method: "GET", Target: "/", Host: "a.test", Into: http.Header{}}, from)
				done <- name
			}("192.0.2." + string(rune('0'+len(done)%10)))
		}
		until(t, "requests are under way", func() bool { return a.seen.Load()+b.seen.Load() == all+64 })
		onA := int(a.seen.Load() - before)
		r.configure(Group{Servers: list, Algorithm: algorithm})
		close(hold)
		a.held.Store(nil)
		b.held.Store(nil)
		got := map[string]int{}
		for range 64 {
			got[<-done]++
		}
		if got[""] > 0 || algorithm != IPHash && onA == 0 || got["a"] < onA {
			t.Errorf("%s: of the requests under way %v came back, %d were on a", algorithm, got, onA)
		}
		if got := r.count(20); got["b"] != 20 {
			t.Errorf("%s: while a drains: %v", algorithm, got)
		}
		if st := r.set.Status(); len(st) != 2 || st[0].Drain == st[1].Drain {
			t.Errorf("%s: status %+v", algorithm, st)
		}
		r.configure(Group{Servers: servers(a, b)})
		if got := r.count(20); got["a"] != 10 {
			t.Errorf("%s: after it is back: %v", algorithm, got)
		}
	}
	if err := (&Group{Name: "app", Servers: []Server{{URL: "http://a", Drain: true}}}).Validate(); err == nil || !strings.Contains(err.Error(), "servers: all drain") {
		t.Errorf("got %v", err)
	}
}
