package firewall

import (
	"fmt"
	"slices"
	"testing"
)

func TestDriftLeavesOutWhatIsChanging(t *testing.T) {
	object := func(kind, name, text string) Object { return Object{Kind: kind, Name: name, Text: text, Digest: text} }
	before := Listing{object("chain", "input", "a"), object("set", "blocks", "1.2.3.4"), object("set", "ports", "22")}
	want := Listing{object("chain", "input", "a"), object("set", "blocks", "1.2.3.4, 5.6.7.8"), object("set", "ports", "22")}
	for _, c := range []struct {
		name string
		have Listing
		want string
	}{
		{"nothing happened yet", before, "[]"},
		{"the change is on its way", want, "[]"},
		{"a set that stays was changed", Listing{before[0], want[1], object("set", "ports", "23")}, "[~ set ports: 23 -> 22]"},
		{"everything was deleted", nil, "[+ chain input: a + set ports: 22]"},
		{"something foreign came", append(slices.Clone(before), object("set", "x", "y")), "[- set x: y]"},
	} {
		if got := fmt.Sprint(Drift(before, want, c.have)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
