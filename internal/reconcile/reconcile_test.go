package reconcile

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
)

// memory is a subsystem in memory: have becomes want by Apply, unless it is broken.
type memory struct {
	mu         sync.Mutex
	want, have int
	put        int // by the last Apply
	held       bool
	applied    []int
	broken     bool
}

func (m *memory) diff() ([]firewall.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.want == m.have {
		return nil, nil
	}
	return []firewall.Change{{Op: firewall.OpChange, Kind: "number", Name: "n"}}, nil
}

func (m *memory) Plan(context.Context) ([]firewall.Change, error) { return m.diff() }

func (m *memory) Verify(context.Context) ([]firewall.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held = m.put == m.have; m.held {
		return nil, nil
	}
	return []firewall.Change{{Op: firewall.OpChange, Kind: "number", Name: "n"}}, nil
}

func (m *memory) Apply(context.Context) (drift []firewall.Change, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held && m.put != m.have {
		drift = []firewall.Change{{Op: firewall.OpChange, Kind: "number", Name: "n"}}
	}
	m.put, m.held = m.want, false
	if m.broken {
		return drift, errors.New("broken")
	}
	m.have = m.want
	m.applied = append(m.applied, m.have)
	return drift, nil
}

func (m *memory) holds() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.have
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func start(t *testing.T, m *memory, cfg Config) (*Loop, chan Result) {
	t.Helper()
	results := make(chan Result, 100)
	cfg.Subsystem, cfg.Now = m, time.Now
	cfg.Report = func(r Result) { results <- r }
	if cfg.Every == 0 {
		cfg.Every = time.Hour
	}
	l := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	if r := <-results; !r.Verified {
		t.Fatalf("first pass: %+v", r)
	}
	return l, results
}

func TestSyncSeesWhatWasWantedBefore(t *testing.T) {
	m := &memory{}
	l, _ := start(t, m, Config{Settle: time.Hour}) // a request does not wait for changes to settle
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			m.set(func() { m.want = i + 1 })
			if r, err := l.Sync(context.Background()); err != nil || !r.Verified {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
	group.Wait()
	if changes, _ := m.diff(); len(changes) > 0 {
		t.Error("what was wanted last is not there")
	}
}

func TestDriftIsReportedWithItsCause(t *testing.T) {
	m := &memory{}
	l, results := start(t, m, Config{})
	by := firewall.ChangedBy{PID: 7, Program: "nft"}
	l.Kick(Cause{Kind: "drift", By: by})
	if r := <-results; !r.Verified || len(r.Drift) > 0 || len(m.applied) != 1 {
		t.Errorf("nothing had changed: %+v, applied %v", r, m.applied)
	}
	m.set(func() { m.have = 5 })
	l.Kick(Cause{Kind: "drift", By: by})
	if r := <-results; !r.Verified || len(r.Drift) != 1 || !slices.Contains(r.Causes, Cause{Kind: "drift", By: by}) {
		t.Errorf("got %+v, want the drift, who made it, and its repair", r)
	}
}

// A request that comes between another program's change and word of it repairs it: that is recorded, with who it was.
func TestDriftIsReportedByARequestToo(t *testing.T) {
	m := &memory{}
	l, results := start(t, m, Config{Settle: time.Minute})
	m.set(func() { m.want, m.have = 8, 5 })
	answered := make(chan error, 1)
	go func() { _, err := l.Sync(context.Background()); answered <- err }()
	for m.holds() != 8 {
		runtime.Gosched()
	}
	by := firewall.ChangedBy{PID: 7, Program: "nft"}
	l.Kick(Cause{Kind: "drift", By: by})
	if r := <-results; !r.Verified || len(r.Drift) != 1 || !slices.Contains(r.Causes, Cause{Kind: "drift", By: by}) {
		t.Errorf("got %+v, want the drift, and who made it", r)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestWhatIsWantedMeanwhileIsNoDrift(t *testing.T) {
	m := &memory{}
	l, results := start(t, m, Config{})
	m.set(func() { m.want = 7 })
	l.Kick(Cause{Kind: "drift"})
	if r := <-results; !r.Verified || len(r.Drift) > 0 || m.have != 7 {
		t.Errorf("got %+v, have %d, want it applied and not called drift", r, m.have)
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	m := &memory{}
	l, results := start(t, m, Config{})
	m.set(func() { m.want, m.broken = 1, true })
	r, err := l.Sync(context.Background())
	if err != nil || r.Verified || r.Err == nil || len(r.Left) != 1 {
		t.Fatalf("got %+v, %v, want an answer that says it is not verified", r, err)
	}
	<-results
	m.set(func() { m.broken = false })
	for r := range results {
		if len(r.Drift) > 0 {
			t.Errorf("a change that was not made yet was taken for drift: %+v", r)
		}
		if r.Verified {
			return
		}
	}
}

func TestSyncEndsWithItsContext(t *testing.T) {
	l := New(Config{}) // does not run
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
