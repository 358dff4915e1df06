package daemon

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
)

// shelf is a driver whose kernel is a listing; a ruleset renders to the objects of its SYN, comma by comma.
type shelf struct {
	firewall.Driver
	have firewall.Listing
	fail error
}

func (*shelf) Name() string { return "shelf" }

func (*shelf) Render(rs *firewall.Ruleset) (firewall.Listing, error) { return objects(rs.SYN), nil }

func (s *shelf) Observe(context.Context) (firewall.Listing, error) { return s.have, nil }

func (s *shelf) Apply(_ context.Context, rs *firewall.Ruleset) (firewall.Listing, error) {
	found := s.have
	if s.fail == nil {
		s.have = objects(rs.SYN)
	}
	return found, s.fail
}

// objects makes one of each "name=digest".
func objects(text string) firewall.Listing {
	var l firewall.Listing
	for i := 0; i+2 < len(text); i += 3 {
		l = append(l, firewall.Object{Kind: "set", Name: text[i : i+1], Digest: text[i+2 : i+3], Text: text[i+2 : i+3]})
	}
	return l
}

func TestDrift(t *testing.T) {
	type step struct {
		kernel string // what somebody else makes of the kernel before it; "-" leaves it
		want   string
		fail   bool
		ruin   bool // somebody else empties the kernel between Apply and Verify
		drift  string
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"nobody else", []step{{"-", "a=1b=1", false, false, "[]"}, {"-", "a=2b=1", false, false, "[]"}}},
		{"what was there at the start is no drift", []step{{"a=1x=9", "a=1", false, false, "[]"}}},
		{"a set that stays was changed", []step{{"-", "a=1b=1", false, false, "[]"}, {"a=1b=7", "a=2b=1", false, false, "[~ set b: 7 -> 1]"}}},
		{"the change is on its way", []step{{"-", "a=1b=1", false, false, "[]"}, {"a=2b=1", "a=2b=1", false, false, "[]"}}},
		{"everything was deleted", []step{{"-", "a=1b=1", false, false, "[]"}, {"", "a=2b=1", false, false, "[+ set b: 1]"}, {"-", "a=2b=1", false, false, "[]"}}},
		{"something foreign came", []step{{"-", "a=1b=1", false, false, "[]"}, {"a=1b=1x=9", "a=1b=1", false, false, "[- set x: 9]"}}},
		{"deleted while Apply runs", []step{{"-", "a=1b=1", false, false, "[]"}, {"-", "a=2b=1", true, false, "[]"}, {"", "a=3b=1", false, false, "[+ set b: 1]"}}},
		{"deleted before it could be read", []step{{"-", "a=1b=1", false, false, "[]"}, {"", "a=2b=1", true, false, "[]"}, {"-", "a=2b=1", false, false, "[+ set b: 1]"}}},
		{"deleted after Apply", []step{{"-", "a=1b=1", false, false, "[]"}, {"-", "a=2b=1", false, true, "[]"}, {"-", "a=2b=1", false, false, "[+ set b: 1]"}}},
		{"what a failed pass left behind", []step{{"-", "a=1b=1", false, false, "[]"}, {"-", "a=2b=1", true, false, "[]"}, {"a=9b=1x=9", "a=1b=1", false, false, "[]"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, want := &shelf{}, ""
			p := &packetFilter{now: time.Now, driver: s, desired: func() (*firewall.Ruleset, string, error) { return &firewall.Ruleset{SYN: want}, "shelf", nil }}
			for i, st := range tt.steps {
				if st.kernel != "-" {
					s.have = objects(st.kernel)
				}
				if want, s.fail = st.want, nil; st.fail {
					s.fail = errors.New("somebody changed it meanwhile")
				}
				drift, err := p.Apply(t.Context())
				if !errors.Is(err, s.fail) {
					t.Errorf("step %d: got %v", i, err)
				}
				if got := fmt.Sprint(drift); got != st.drift {
					t.Errorf("step %d: got %s, want %s", i, got, st.drift)
				}
				if st.ruin {
					s.have = nil
				}
				if left, err := p.Verify(t.Context()); err != nil || (len(left) == 0) == (st.fail || st.ruin) {
					t.Errorf("step %d: verify: got %v, %v", i, left, err)
				}
			}
		})
	}
}
