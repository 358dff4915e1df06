// Package probe knocks at the host's own addresses as a stranger would, and compares what answers with the policy.
//
// The model in words. A network namespace without a name is made; the thread that does the knocking holds it, and a veth
// pair leads from it to the host. The host's end is the interface Link with addresses that nothing else on the host has.
// What goes through is a packet from outside like any other: it meets the whole packet filter, ours and everybody else's.
// Each TCP port either answers (open, or refused because nothing listens) or does not (silent). A port that the policy
// closes must be silent; one that it opens must answer. UDP tells less: silence proves nothing, an answer from a closed
// port does. Knocking keeps within the limits of the policy, so that no limit can look like a closed port.
//
// What is made is removed before Run returns. Should the process be killed meanwhile, the kernel removes the namespace with
// its last thread, and the pair with it. The package changes no rule, sends nothing to anybody but the host itself, and
// decides nothing about what it found.
package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// Link is the name of the host's end while a probe runs.
const Link = "platform-probe"

// Bounds of a probe.
const (
	// patience is how long a port may take to answer: far above a round trip within one machine, and below the second
	// after which TCP sends its SYN again, so that a knock is exactly one packet.
	patience = 500 * time.Millisecond
	// scanTime bounds the scan, confirmTime knocking again where something disagreed.
	scanTime    = 10 * time.Second
	confirmTime = 4 * time.Second
	// atOnce is how many knocks wait for an answer at the same time, and maxAddresses how many own addresses are knocked at.
	atOnce       = 512
	maxAddresses = 32
	// maxReported is how many disagreements are told one by one.
	maxReported = 100
)

// Config is what a probe needs to know. The zero value of what is marked optional is usable.
type Config struct {
	// Ruleset is what should be in force. It is asked again before a disagreement is reported, because the policy may have
	// changed meanwhile.
	Ruleset func() (*firewall.Ruleset, error)
	Lookup  firewall.Lookup
	// Addresses are the host's own; only global ones are knocked at.
	Addresses []netip.Addr
	// TCP and UDP are the ports on which somebody listens.
	TCP, UDP []uint16
	// Starting is told the addresses of the wire before they exist. Optional.
	Starting func(Wire)
	// Random chooses addresses; nil is crypto/rand.
	Random io.Reader
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Result is what became of a knock.
type Result string

// The results.
const (
	Open     Result = "open"
	Refused  Result = "refused"  // let through, but nothing listens: a TCP reset, or ICMP port unreachable
	Rejected Result = "rejected" // an ICMP error says that it is not let through
	Silent   Result = "silent"
)

// Disagreement is a port that does not behave as the policy says.
type Disagreement struct {
	Protocol firewall.Protocol
	To       netip.AddrPort
	Got      Result
	// Admitted is what the policy says, Rule which part of it.
	Admitted bool
	Rule     string
}

// Report is what a probe found.
type Report struct {
	Wire Wire
	// Addresses are those that were knocked at; Skipped is how many there was no room for.
	Addresses []netip.Addr
	Skipped   int
	// Knocks counts the ports that were tried, by what became of them; Left are those that time or a limit did not allow.
	Knocks map[Result]int
	Left   int
	// Disagreements are the first of them, More how many there are beyond.
	Disagreements []Disagreement
	More          int
	// Unjudged counts ports that the policy opens to others, or by UDP, so that silence says nothing.
	Unjudged int
	Took     time.Duration
}

// Why there is nothing to probe: no policy to compare with, or nothing that others could reach.
var (
	ErrOff       = errors.New("probe: the firewall is off")
	ErrNoAddress = errors.New("probe: the host has no global address")
)

// Run probes the host whose network namespace the caller is in. It takes up to about 15 s.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	type outcome struct {
		r   Report
		err error
	}
	done := make(chan outcome, 1)
	go onOwnThread(func() {
		r, err := run(ctx, cfg)
		done <- outcome{r, err}
	})
	o := <-done
	return o.r, o.err
}

// onOwnThread runs f, as the last thing of this goroutine, on a thread that ends with it; so does the namespace that f has
// moved it to. The first thread of a process cannot end, and it is where /proc/self/net looks: it is kept busy meanwhile.
func onOwnThread(f func()) {
	runtime.LockOSThread() // not unlocked after f
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

func run(ctx context.Context, cfg Config) (r Report, err error) {
	rs, err := cfg.Ruleset()
	if err != nil {
		return r, err
	}
	if rs.Off {
		return r, ErrOff
	}
	begin := cfg.Now()
	l, err := connect(cfg, rs)
	if err != nil {
		return r, err
	}
	defer func() {
		err = errors.Join(err, l.close())
		r.Took = cfg.Now().Sub(begin)
	}()
	r = Report{Wire: l.wire, Knocks: map[Result]int{}}
	r.Addresses, r.Skipped = reachable(cfg.Addresses, l.wire)
	s := &scan{cfg: cfg, wire: l.wire, pace: newPace(rs)}
	jobs, err := s.jobs(rs, targets(rs, cfg.TCP, cfg.UDP, r.Addresses))
	if err != nil {
		return r, err
	}
	left, err := s.knock(ctx, jobs, scanTime, func(j job, got Result) {
		r.Knocks[got]++
		if j.expect.judged() && j.expect.disagrees(got) {
			s.suspects = append(s.suspects, suspect{j, got})
		}
		if got == Silent && j.target.proto == firewall.UDP && j.expect.admitted {
			r.Unjudged++
		}
	})
	r.Left = left
	if err != nil || len(s.suspects) == 0 {
		return r, err
	}
	found, err := s.confirm(ctx)
	r.Disagreements = found[:min(len(found), maxReported)]
	r.More = len(found) - len(r.Disagreements)
	return r, err
}
