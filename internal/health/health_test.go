package health

import (
	"testing"
	"time"
)

func TestRegistry(t *testing.T) {
	now := time.Unix(100, 0)
	r := New(func() time.Time { return now })
	r.Set(Condition{ID: "b", Severity: Warning, Message: "one"})
	now = now.Add(time.Hour)
	r.Set(Condition{ID: "b", Severity: Warning, Message: "two"})
	r.Set(Condition{ID: "z", Severity: Critical})
	got := r.List()
	if len(got) != 2 || got[0].ID != "z" || got[1].Message != "two" || !got[1].Since.Equal(time.Unix(100, 0)) {
		t.Errorf("got %+v, want z first, then b with the new text and the old time", got)
	}
	if !r.Clear("b") || r.Clear("b") || len(r.List()) != 1 {
		t.Error("clearing must work once")
	}
}
