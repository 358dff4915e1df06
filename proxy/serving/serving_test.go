package serving

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// FuzzParseTarget: a target is read as net/url reads it.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/", "/a/b?c=d", "/a?", "/a??", "//a/b", "*", "/a%20b", "http://a/b?c", "", "/a b", "/a?b\x00", "/\x7f", "/a#b?c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got url.URL
		err := ParseTarget(s, &got)
		want, wrong := url.ParseRequestURI(s)
		if (err != nil) != (wrong != nil) || err == nil && !reflect.DeepEqual(got, *want) {
			t.Errorf("%q: got %#v, %v, want %#v, %v", s, got, err, want, wrong)
		}
	})
}

// TestCrew: all work is done, at the same time, by no more goroutines than that needs; and they end.
func TestCrew(t *testing.T) {
	var w Crew
	for range 3 {
		var began, ended sync.WaitGroup
		goOn := make(chan struct{})
		var n atomic.Int64
		for range 50 {
			began.Add(1)
			ended.Add(1)
			w.Do(func() {
				defer ended.Done()
				n.Add(1)
				began.Done()
				<-goOn
			})
		}
		began.Wait()
		close(goOn)
		ended.Wait()
		if n.Load() != 50 {
			t.Errorf("%d of 50 were done", n.Load())
		}
	}
	idle := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.idle)
	}
	if n := idle(); n > 150 {
		t.Errorf("%d goroutines wait", n)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); idle() > 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines do not end", idle())
		}
	}
}

func TestLife(t *testing.T) {
	type key struct{}
	l := &Life{Context: context.WithValue(context.Background(), key{}, 1)}
	called := make(chan struct{})
	context.AfterFunc(l, func() { close(called) })
	stop := l.AfterFunc(func() { t.Error("it was stopped") })
	if !stop() || stop() {
		t.Error("stop does not say what it did")
	}
	child, cancel := context.WithCancel(l)
	defer cancel()
	if l.Err() != nil || l.Value(key{}) != 1 {
		t.Errorf("got %v, %v", l.Err(), l.Value(key{}))
	}
	l.End()
	l.End()
	<-called
	<-l.Done()
	<-child.Done()
	late := make(chan struct{})
	if stop := l.AfterFunc(func() { close(late) }); stop() {
		t.Error("what has begun cannot be stopped")
	}
	<-late
}

func TestDate(t *testing.T) {
	var c Clock
	for _, at := range []time.Time{time.Unix(1e9, 0), time.Unix(1e9, 999e6), time.Unix(1e9+1, 0), time.Unix(0, 0)} {
		if got, want := c.Date(at), at.UTC().Format(http.TimeFormat); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
