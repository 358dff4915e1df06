package order

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestCheckBounds(t *testing.T) {
	now := time.Now()
	for name, r := range map[string]Result{
		"problem":  {Problem: "rate limited: now"},
		"profiles": {Profiles: make([]string, 51)},
		"staple":   {Staple: make([]byte, 65<<10)},
		"window":   {Start: now, End: now.Add(-time.Second)},
		"long":     {Start: now, End: now.AddDate(2, 0, 0)},
		"record":   {Records: []Record{{Name: "a\nb"}}},
	} {
		if r.Check() == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	r := Result{Error: "x\x1b[2J" + strings.Repeat("y", 5000), Problem: "rateLimited", RetryAfter: 1 << 62}
	if err := r.Check(); err != nil || len(r.Error) > maxText+10 || strings.ContainsRune(r.Error, 0x1b) || r.RetryAfter > 30*24*time.Hour {
		t.Errorf("got %v, %+v", err, r)
	}
	if text := (Job{Kind: Issue, Names: []string{"a.test"}, Account: []byte("do-not-print")}).String(); text != "issue a.test" {
		t.Errorf("got %q", text)
	}
}

func FuzzResult(f *testing.F) {
	f.Add([]byte(`{"error":"rateLimited: slow\u001b","problem":"rateLimited","retry_after":-1,"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Result
		if json.Unmarshal(data, &r) != nil || r.Check() != nil {
			return
		}
		if strings.ContainsAny(r.Error+r.Terms+r.Problem, "\x00\x1b\n") || r.RetryAfter < 0 || r.End.Before(r.Start) && !r.Start.IsZero() {
			t.Errorf("got %+v", r)
		}
	})
}
