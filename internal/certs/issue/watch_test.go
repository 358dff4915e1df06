package issue

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{"": 0, "120": 2 * time.Minute, "-5": 0, "soon": 0, "Fri, 02 Jan 2026 04:04:05 GMT": time.Hour, "Thu, 01 Jan 2026 00:00:00 GMT": 0, "99999999999999": 0} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: got %v, want %v", v, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		n, status int
		again     bool
	}{{1, 400, true}, {6, 400, false}, {1, 429, false}, {1, 500, true}, {3, 503, false}} {
		if got := backoff(tt.n, nil, &http.Response{StatusCode: tt.status}) > 0; got != tt.again {
			t.Errorf("%d after %d: got %v, want %v", tt.n, tt.status, got, tt.again)
		}
	}
}

func TestShowsOneChallenge(t *testing.T) {
	w := &watch{only: "http-01"}
	out := w.authorization([]byte(`{"status":"pending","challenges":[{"type":"dns-01","url":"d"},{"type":"http-01","url":"h","token":"t"}],"wildcard":false}`))
	var a struct {
		Status     string
		Challenges []struct{ Type, URL, Token string }
	}
	if err := json.Unmarshal(out, &a); err != nil || a.Status != "pending" || len(a.Challenges) != 1 || a.Challenges[0].Token != "t" {
		t.Errorf("got %s, %v", out, err)
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add([]byte(`{"challenges":[{"type":"http-01","error":{"type":"urn:ietf:params:acme:error:caa","detail":"no\u001b"}}]}`))
	f.Add([]byte(`{"challenges":{"type":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := &watch{only: "http-01"}
		w.authorization(data)
		w.order(data)
		w.failed(&http.Response{StatusCode: 400, Header: http.Header{}}, data)
		res := w.explain(errors.New("ended"))
		if err := res.Check(); err != nil || strings.ContainsAny(res.Error, "\x00\x1b") {
			t.Errorf("got %+v, %v", res, err)
		}
	})
}
