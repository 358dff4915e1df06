package api_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/nft"
	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/daemon"
	"github.com/platformd/platformd/internal/nstest"
)

// startDaemon runs a daemon in this process until the test ends, and returns a client once the policy is in force.
func startDaemon(t *testing.T) *client.Client {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "api.sock")
	ctx, cancel := context.WithCancel(context.Background())
	d, err := daemon.New(ctx, daemon.Config{
		DataDir: filepath.Join(dir, "data"), Socket: socket, Version: "test", Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Drivers: daemon.Drivers{"nft": func() (firewall.Driver, error) { return nft.New() }},
		AuthLog: filepath.Join(dir, "auth.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, d.Close()); err != nil {
			t.Errorf("daemon: %v", err)
		}
	})
	c := client.New(socket)
	for {
		select {
		case err := <-done:
			t.Fatalf("the daemon ended: %v", err)
		case <-t.Context().Done():
			t.Fatal("the policy did not come in force")
		case <-time.After(10 * time.Millisecond):
		}
		if st, err := c.Status(t.Context()); err == nil && st.Firewall.Verified {
			return c
		}
	}
}

// The whole way: from a request over the socket to the kernel and back, and into the activity log.
func TestWithTheDaemon(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		nstest.Enter(t)
		c := startDaemon(t)
		ctx := t.Context()

		r, err := c.Block(ctx, wire.Options{}, wire.BlockRequest{Targets: []string{"192.0.2.0/24", "2001:db8::/32"}, Reason: "test"})
		if err != nil || !r.Verified || !r.Changed || r.Revision != 2 || len(r.Document) != 2 {
			t.Fatalf("block: got %+v, %v", r, err)
		}
		for _, a := range []string{"192.0.2.77", "2001:db8::77"} {
			x, err := c.Explain(ctx, client.Question{Address: a, Port: "22"})
			if err != nil || x.Verdict.Admitted || x.Verdict.Reason != firewall.ReasonBlock || x.Kernel != "agrees" {
				t.Errorf("explain %s: got %+v, %v", a, x, err)
			}
		}
		if st, err := c.Status(ctx); err != nil || st.Revision != 2 || st.Counts.Blocks != 2 || st.Firewall.Driver != "nft" {
			t.Errorf("status: got %+v, %v", st, err)
		}

		// A stream has what was there, and then what comes.
		following, cancel := context.WithCancel(ctx)
		defer cancel()
		var seen []string
		for rec, err := range c.FollowActivity(following, wire.ActivityFilter{Action: "address"}) {
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, rec.Action+" "+rec.Object)
			if len(seen) == 1 {
				if _, err := c.Unblock(ctx, wire.Options{}, "192.0.2.0/24"); err != nil {
					t.Fatal(err)
				}
			}
			if len(seen) == 2 {
				break
			}
		}
		if got, want := strings.Join(seen, ", "), "address-blocked 192.0.2.0/24 2001:db8::/32, address-unblocked 192.0.2.0/24"; got != want {
			t.Errorf("followed: got %s, want %s", got, want)
		}

		// Two who start from the same revision: the second one is told.
		_, err = c.OpenPorts(ctx, wire.Options{Base: 2}, wire.PortRequest{Ports: []string{"8080"}})
		var p *wire.Problem
		if !errors.As(err, &p) || p.Code != wire.CodeConflict {
			t.Errorf("from an old revision: got %v, want a conflict", err)
		}
		old, err := c.Document(ctx, 1, "yaml")
		if err != nil {
			t.Fatal(err)
		}
		if plan, err := c.Plan(ctx, wire.Options{}, "old.yaml", old); err != nil || !plan.DryRun || len(plan.Document) != 1 || len(plan.Kernel) == 0 {
			t.Errorf("plan of revision 1: got %+v, %v", plan, err)
		}
		if r, err := c.Apply(ctx, wire.Options{}, "old.yaml", old); err != nil || !r.Verified || r.Revision != 4 {
			t.Errorf("apply of revision 1: got %+v, %v", r, err)
		}
		if fields, err := c.Diff(ctx, 1, 0); err != nil || len(fields) != 0 {
			t.Errorf("revision 1 and the current one: got %v, %v, want no difference", fields, err)
		}

		// Strikes that others report make a ban.
		for range 5 {
			if err := c.Strike(ctx, wire.StrikeRequest{Source: "198.51.100.7", Reason: "login", Detail: "wrong password"}); err != nil {
				t.Fatal(err)
			}
		}
		bans, err := c.Bans(ctx)
		if err != nil || len(bans) != 1 || bans[0].Target != "198.51.100.7" || bans[0].Reason != "login" {
			t.Errorf("bans: got %+v, %v", bans, err)
		}
		if err := c.Unban(ctx, "198.51.100.7"); err != nil {
			t.Errorf("unban: %v", err)
		}
		if rep, err := c.VerifyActivity(ctx); err != nil || !rep.OK || rep.Records == 0 {
			t.Errorf("verify: got %+v, %v", rep, err)
		}
		if entries, err := os.ReadDir("/run"); err != nil || len(entries) == 0 {
			t.Errorf("the namespace's own /run: got %d entries, %v", len(entries), err)
		}
	})
}
