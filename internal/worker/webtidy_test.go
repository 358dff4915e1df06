package worker

import "testing"

func TestTidier(t *testing.T) {
	for name, x := range map[string]struct {
		events []int64
		want   int // times that memory is given back
	}{
		"nothing":            {[]int64{0, 0, 0, 0, 0, 0, 0, 0}, 0},
		"little":             {[]int64{500, 500, 500, 500, 500, 500}, 0},
		"a burst":            {[]int64{5000, 9000, 9001, 9005, 9005, 9006, 9006, 9020, 9020, 9020, 9020}, 1},
		"a trickle after it": {[]int64{5000, 5020, 5040, 5060, 5080, 5100, 5120, 5140, 5160}, 1},
		"two bursts":         {[]int64{5000, 5000, 5000, 5000, 5000, 9000, 9000, 9000, 9000, 9000, 9000}, 2},
		"load":               {[]int64{5000, 9000, 14000, 20000, 20010, 20020, 25000, 30000}, 0},
	} {
		var d tidier
		got := 0
		for _, n := range x.events {
			if d.due(n) {
				got++
			}
		}
		if got != x.want {
			t.Errorf("%s: got %d, want %d", name, got, x.want)
		}
	}
}
