package daemon

import (
	"context"
	"errors"
	"sync"

	"github.com/platformd/platformd/firewall/ranges"
)

// cut is a wish to end the open flows of what a change has blocked. It is granted as soon as the kernel refuses new ones,
// before the pass reads back: until then packets of an open flow still pass.
type cut struct {
	targets []ranges.Range

	mu     sync.Mutex
	closed int
	err    error
}

// result is how many flows were ended, and what went wrong.
func (c *cut) result() (closed int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed, c.err
}

// endFlows asks for the end of open flows with the next Apply that begins after the call; without targets for nothing.
func (p *packetFilter) endFlows(targets []ranges.Range) *cut {
	c := &cut{targets: targets}
	if len(targets) > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cuts = append(p.cuts, c)
	}
	return c
}

// takeCuts empties the list. Its caller compiles the ruleset afterwards, which then has the blocks behind the wishes.
func (p *packetFilter) takeCuts() []*cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	cuts := p.cuts
	p.cuts = nil
	return cuts
}

// putBack is for wishes that could not be granted: a later pass does it.
func (p *packetFilter) putBack(cuts []*cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = append(cuts, p.cuts...)
}

// grant ends the flows.
func (p *packetFilter) grant(ctx context.Context, cuts []*cut) {
	for _, c := range cuts {
		n, err := p.cut(ctx, c.targets)
		c.mu.Lock()
		c.closed, c.err = c.closed+n, errors.Join(c.err, err)
		c.mu.Unlock()
	}
}
