package state

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// withBlocks is the default document with n blocks.
func withBlocks(n int) State {
	s := Default()
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		a := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		s.Firewall.Blocks = append(s.Firewall.Blocks, firewall.Block{
			Target: ranges.Single(a), Reason: fmt.Sprintf("probe %d", i), Since: since, By: "root",
		})
	}
	return s
}

func BenchmarkEncode10kBlocks(b *testing.B) {
	s := withBlocks(10_000)
	for b.Loop() {
		raw, err := json.Marshal(&s)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(raw)))
	}
}
func BenchmarkDecode10kBlocks(b *testing.B) {
	s := withBlocks(10_000)
	raw, _ := json.Marshal(&s)
	for b.Loop() {
		var x State
		if err := json.Unmarshal(raw, &x); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(raw)))
	}
}

// BenchmarkUpdate is what one `platformctl block` costs the store when n blocks are there, with both files on disk.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{0, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := Open(b.Context(), filepath.Join(b.TempDir(), "state.db"), Config{First: func() State { return withBlocks(n) }})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			i := 0
			for b.Loop() {
				i++
				_, err := s.Update(b.Context(), root, 0, "block", func(st *State) error {
					a := netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
					st.Firewall.Blocks = append(st.Firewall.Blocks, firewall.Block{Target: ranges.Single(a), Since: time.Now()})
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCompare is what it costs to say what an update changed.
func BenchmarkCompare10kBlocks(b *testing.B) {
	before, after := withBlocks(10_000), withBlocks(10_001)
	for b.Loop() {
		if got, err := Compare(&before, &after); err != nil || len(got) != 1 {
			b.Fatal(len(got), err)
		}
	}
}
