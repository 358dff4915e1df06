package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/api/wire"
)

// checker collects what is wrong with a command line, so that all of it is told at once and before the daemon is asked.
type checker struct{ errs []error }

func (c *checker) add(err error) {
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

func (c *checker) bad(format string, args ...any) { c.add(fmt.Errorf(format, args...)) }

func (c *checker) err() error { return mistakes(c.errs) }

func (c *checker) targets(in []string) {
	for _, t := range in {
		_, err := ranges.Parse(t)
		c.add(err)
	}
}

func (c *checker) address(s string) {
	if _, err := netip.ParseAddr(s); err != nil {
		c.bad("address %q: is not an IPv4 or IPv6 address; write for example 192.0.2.1 or 2001:db8::1", s)
	}
}

func (c *checker) ports(in []string) {
	for _, p := range in {
		_, err := firewall.ParsePortRange(p)
		c.add(err)
	}
}

func (c *checker) protocol(s string) {
	if s != "" && s != string(firewall.TCP) && s != string(firewall.UDP) {
		c.bad("protocol %q: must be tcp or udp", s)
	}
}

func (c *checker) duration(s string) {
	if s != "" {
		_, err := wire.ParseDuration(s)
		c.add(err)
	}
}

// countries checks the form only; the daemon knows which codes there are.
func (c *checker) countries(in []string) {
	for _, s := range in {
		if len(s) != 2 || strings.Trim(strings.ToUpper(s), "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			c.bad("country %q: is not a country code; write two letters such as DE (ISO 3166-1)", s)
		}
	}
}

func (c *checker) class(s string) {
	if s == "" || len(s) > 32 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		c.bad("limit class %q: use lower-case letters, digits and dashes, at most 32", s)
	}
}
