// Package doctor judges what a host is like: whether the policy is in force, whether somebody else undoes it, and whether
// what it rests on is in order.
//
// The model in words. Each check is a function from facts to findings, and decides nothing else: it reads no file, no clock
// and no kernel. The facts are collected by the few readers in this package that know a file or a netlink answer, and by
// the daemon, which knows its own books. A finding says what was looked at, how it is, and what to do about it. "failed" is
// what should not stay so; "warning" is what an operator should know; "skipped" could not be looked at, or does not concern
// this host.
//
// Nothing here changes anything. What packets really do is shown by package probe.
package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/health"
)

// State is how a check ended.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Finding is what one check says.
type Finding struct {
	Check  string
	State  State
	Detail string
	Remedy string
}

func finding(check string, s State, remedy, format string, args ...any) Finding {
	return Finding{Check: check, State: s, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Policy judges a fresh comparison of the kernel with the document.
func Policy(off bool, driver string, left []firewall.Change, err error) Finding {
	const check = "policy"
	switch {
	case err != nil:
		return finding(check, Failed, "journalctl -u platformd says more", "the kernel could not be compared with the policy: %v", err)
	case len(left) > 0:
		return finding(check, Failed, "it is repaired by itself within seconds; platformctl activity --action drift shows who changes it",
			"the kernel does not hold the policy (driver %s): %s", driver, some(left, func(c firewall.Change) string { return c.String() }))
	case off:
		return finding(check, Warning, "platformctl firewall on", "the firewall is switched off: the host is open")
	}
	return finding(check, OK, "", "the kernel holds the policy, read back now (driver %s)", driver)
}

// Conditions passes on what is known to be wrong.
func Conditions(list []health.Condition) []Finding {
	if len(list) == 0 {
		return []Finding{finding("conditions", OK, "", "nothing is known to be wrong")}
	}
	var out []Finding
	for _, c := range list {
		state := Warning
		if c.Severity == health.Critical {
			state = Failed
		}
		out = append(out, finding(c.ID, state, c.Remedy, "%s", c.Message))
	}
	return out
}

// Activity judges a verification of the activity log.
func Activity(r activity.Report, err error) Finding {
	const check = "activity-log"
	switch {
	case err != nil:
		return finding(check, Failed, "look at the disk; platformctl activity verify tries again", "could not be verified: %v", err)
	case !r.OK:
		return finding(check, Failed, "platformctl activity verify shows all of it; ask who could write to the data directory",
			"is not as it was written: %s", some(r.Problems, func(p activity.Problem) string { return p.Text }))
	}
	return finding(check, OK, "", "%d records are as they were written", r.Records)
}

// some is the first few of a list as text.
func some[T any](in []T, text func(T) string) string {
	const most = 8
	var parts []string
	for _, v := range in[:min(len(in), most)] {
		parts = append(parts, text(v))
	}
	if len(in) > most {
		parts = append(parts, fmt.Sprintf("and %d more", len(in)-most))
	}
	return strings.Join(parts, ", ")
}

// days is an age for people.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
