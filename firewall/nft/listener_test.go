package nft

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/nstest"
)

// A bulk load is not listened to; afterwards Watch reports a change by nobody, and hears others again.
func TestWatchAfterBulkLoad(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		tp := nstest.NewTopology(t)
		d := newDriver(t)
		if _, err := d.Apply(t.Context(), &firewall.Ruleset{}); err != nil {
			t.Fatal(err)
		}
		reports := make(chan firewall.ChangedBy, 64)
		ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
		defer stop()
		go func() {
			_ = d.(firewall.Watcher).Watch(ctx, func(by firewall.ChangedBy) {
				select {
				case reports <- by:
				default:
				}
			})
		}()
		await := func(what string, ok func(firewall.ChangedBy) bool) {
			t.Helper()
			for {
				select {
				case by := <-reports:
					if ok(by) {
						return
					}
				case <-ctx.Done():
					t.Fatalf("no report of %s", what)
				}
			}
		}
		nobody := func(by firewall.ChangedBy) bool { return by == firewall.ChangedBy{} }
		await("the beginning", nobody)
		var rs []ranges.Range
		for i := range bulk {
			rs = append(rs, ranges.Single(netip.AddrFrom4([4]byte{1, byte(i >> 14), byte(i >> 7), byte(i << 1)})))
		}
		info, err := ranges.Write(t.TempDir(), ranges.FromSlice(ranges.Normalize(rs)))
		if err != nil {
			t.Fatal(err)
		}
		feeds := firewall.BigSet{Path: info.Path, Digest: info.Digest, V4: info.V4}
		if feeds.V4 < bulk {
			t.Fatalf("the list has %d ranges, too few for this test", feeds.V4)
		}
		if _, err := d.Apply(t.Context(), &firewall.Ruleset{Feeds: feeds}); err != nil {
			t.Fatal(err)
		}
		await("the bulk load", nobody)
		tp.Exec(t, "", "nft", "add", "table", "inet", "somebody")
		await("a change by another program", func(by firewall.ChangedBy) bool { return by.Program == "nft" })
	})
}
