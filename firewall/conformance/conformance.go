// Package conformance is the suite that every firewall.Driver passes: one meaning, shown with real packets, for IPv4 and
// IPv6. Only tests import it.
//
// The model in words. Each case runs in a process and in namespaces of its own (internal/nstest): the driver under test
// works on the network of that process, clients beside it send packets, and the case says what gets through. After every
// Apply the suite reads back: what the driver observes must be what it rendered. Cases know nothing of nftables or
// iptables; where they look at the kernel from outside, they do so with every listing tool there is.
package conformance

import (
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
)

// New makes the driver under test. It is called in the process whose network the driver shall work on.
type New func(t *testing.T) firewall.Driver

type testCase struct {
	name string
	run  func(e *env)
}

// Run runs the whole suite, one subtest per case.
func Run(t *testing.T, newDriver New) {
	t.Run("cases", func(t *testing.T) {
		for _, group := range [][]testCase{
			portCases(), icmpCases(), blockCases(), listCases(), limitCases(), forwardCases(), segmentCases(), convergeCases(), logCases(),
		} {
			for _, c := range group {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel() // processes of their own, which mostly wait
					nstest.Run(t, func(t *testing.T) { c.run(newEnv(t, newDriver)) })
				})
			}
		}
	})
	for _, c := range leakCases() { // these need the machine for themselves
		t.Run(c.name, func(t *testing.T) {
			nstest.Run(t, func(t *testing.T) { c.run(newEnv(t, newDriver)) })
		})
	}
}
