package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/nft"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/state"
)

func TestScratch(t *testing.T) {
	dir := os.Getenv("DDIR")
	if dir == "" {
		dir = t.TempDir()
	}
	ctx, cancel := context.WithCancel(context.Background())
	d, err := New(ctx, Config{DataDir: dir, Socket: dir + "/s", Drivers: Drivers{"nft": func() (firewall.Driver, error) { return nft.New() }}, Log: slog.Default(), Now: time.Now, Worker: []string{"platformd", "worker", "outbound"}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	c := api.Caller{Actor: "root", Source: "local"}
	r, err := d.Change(ctx, api.Change{Caller: c, Action: activity.FeedAdded, Edit: func(s *state.State) error {
		return s.Firewall.AddFeed(firewall.Feed{Name: "big", Source: "/tmp/feed500k.netset"})
	}})
	fmt.Println(r.Verified, err)
	// bypass the worker: put the copy in directly
	f, _ := os.ReadFile("/tmp/feed500k.netset")
	_ = f
	var lat []time.Duration
	for i := 0; i < 200; i++ {
		t0 := time.Now()
		rg, _ := ranges.Parse(fmt.Sprintf("9.%d.%d.7", i/250, i%250))
		r, err := d.Change(ctx, api.Change{Caller: c, Action: activity.AddressBlocked, Object: rg.String(), Edit: func(s *state.State) error {
			s.Firewall.AddBlock(firewall.Block{Target: rg})
			return nil
		}, Cut: []ranges.Range{rg}})
		if err != nil || !r.Verified {
			t.Fatal(err, r)
		}
		lat = append(lat, time.Since(t0))
	}
	sort.Slice(lat, func(i, j int) bool { return lat[i] < lat[j] })
	fmt.Println("p50", lat[100], "p99", lat[197], "max", lat[199])
	fmt.Println(d.Status(ctx))
	cancel()
	fmt.Println(<-done)
	d.Close()
}
