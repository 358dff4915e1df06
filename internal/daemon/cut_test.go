package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// steps is a driver that writes down in which order it is asked.
type steps struct {
	firewall.Driver
	did  *[]string
	fail error
}

func (s *steps) Name() string { return "steps" }

func (s *steps) Apply(context.Context, *firewall.Ruleset) (firewall.Listing, error) {
	*s.did = append(*s.did, "apply")
	return nil, s.fail
}

// tight is one that can be made stricter in advance.
type tight struct{ *steps }

func (s tight) Tighten(context.Context, *firewall.Ruleset) error {
	*s.did = append(*s.did, "tighten")
	return nil
}

func TestCutFollowsApply(t *testing.T) {
	broken := errors.New("broken")
	targets := []ranges.Range{ranges.Single(netip.MustParseAddr("192.0.2.7"))}
	for _, tt := range []struct {
		name  string
		tight bool
		fail  error
		want  []string
		left  int // wishes for a later pass
	}{
		{"at once", false, nil, []string{"apply", "cut"}, 0},
		{"again after an error", false, broken, []string{"apply"}, 1},
		{"before and after", true, nil, []string{"tighten", "cut", "apply", "cut"}, 0},
		{"before, and again after an error", true, broken, []string{"tighten", "cut", "apply"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var did []string
			s := &steps{did: &did, fail: tt.fail}
			var d firewall.Driver = s
			if tt.tight {
				d = tight{s}
			}
			p := &packetFilter{now: time.Now, driver: d, desired: func() (*firewall.Ruleset, string, error) { return &firewall.Ruleset{}, "steps", nil },
				cut: func(_ context.Context, got []ranges.Range) (int, error) {
					if !slices.Equal(got, targets) {
						t.Errorf("cut: got %v, want %v", got, targets)
					}
					did = append(did, "cut")
					return 3, nil
				}}
			c := p.endFlows(targets)
			if _, err := p.Apply(t.Context()); !errors.Is(err, tt.fail) {
				t.Errorf("apply: got %v, want %v", err, tt.fail)
			}
			if !slices.Equal(did, tt.want) {
				t.Errorf("order: got %v, want %v", did, tt.want)
			}
			closed, err := c.result()
			if want := 3 * (len(tt.want) / 2); closed != want && tt.fail == nil || err != nil {
				t.Errorf("result: got %d, %v, want %d", closed, err, want)
			}
			if got := len(p.takeCuts()); got != tt.left {
				t.Errorf("wishes left: got %d, want %d", got, tt.left)
			}
		})
	}
}

func TestNothingToCut(t *testing.T) {
	p := &packetFilter{}
	p.endFlows(nil)
	if got := p.takeCuts(); len(got) != 0 {
		t.Errorf("got %v, want no wish", got)
	}
}
