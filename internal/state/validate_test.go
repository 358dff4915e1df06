package state

import (
	"errors"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/document"
)

// A document that can be read but makes no sense: every reason gets its line.
func TestValidateIsPlacedInTheFile(t *testing.T) {
	text := `version: 2
bans:
  strikes: -1
  first: 200h
  max: 100h
  reasons:
    SSHD: {strikes: 1}
    login:
      window: 48h
settings:
  guard: 500ms
  activity_days: 9999
`
	var s State
	if err := document.Decode([]byte(text), "policy.yaml", &s); err != nil {
		t.Fatal(err)
	}
	got := document.Place(s.Validate(), []byte(text), "policy.yaml").Error()
	want := `policy.yaml:1:1: version: 2 is not known to this program; it reads and writes version 1
policy.yaml:3:3: bans.strikes: -1 must be between 0 and 1000
policy.yaml:5:3: bans.max: 100h0m0s is shorter than the first ban of 200h0m0s; raise max or lower first
policy.yaml:7:5: bans.reasons["SSHD"]: the name of a reason has 1 to 32 lower-case letters, digits and dashes
policy.yaml:9:7: bans.reasons.login.window: 48h0m0s must be between 1s and 24h0m0s
policy.yaml:11:3: settings.guard: 500ms must be between 1s and 1h0m0s
policy.yaml:12:3: settings.activity_days: 9999 must be between 0 and 3650`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// The firewall's own errors name their fields from the policy down, or from the document down.
func TestErrorsOfAPartArePlaced(t *testing.T) {
	v := &validator{}
	plain := errors.New("all is wrong")
	v.join("firewall", errors.Join(&FieldError{"ports[0].name", "a"}, errors.Join(&FieldError{"firewall.blocks[1]", "b"}), plain))
	got := errors.Join(v.errs...)
	if !errors.Is(got, plain) || len(v.errs) != 3 {
		t.Fatalf("got %v", got)
	}
	for i, want := range []string{"firewall.ports[0].name", "firewall.blocks[1]"} {
		var at interface{ FieldPath() string }
		if !errors.As(v.errs[i], &at) || at.FieldPath() != want {
			t.Errorf("got %v, want the path %s", v.errs[i], want)
		}
	}
}

// What is exported as YAML and applied again is no change.
func TestDocumentSurvivesYAML(t *testing.T) {
	s, _, _ := newStore(t)
	update(t, s, block("2001:db8::/32"))
	update(t, s, func(st *State) error {
		st.Firewall.Blocks[0].Since = time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)
		st.Firewall.Feeds = []firewall.Feed{{Name: "drop", Source: "https://example.org/drop.txt", Every: firewall.Duration(time.Hour)}}
		st.Bans.Max = firewall.Duration(24 * time.Hour)
		return nil
	})
	st, rev := s.Current()
	out, err := document.Encode(st)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Update(t.Context(), root, rev.ID, "apply", func(st *State) error {
		*st = State{}
		return document.Decode(out, "export.yaml", st)
	})
	if err != nil || !again.Unchanged {
		t.Errorf("got %+v, %v; want no change from\n%s", again, err, out)
	}
}
