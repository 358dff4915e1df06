package proxy

import (
	"net/netip"

	"github.com/platformd/platformd/proxy/field"
)

// CountryOf knows the country of an address, as two letters in upper case; "" is unknown, which is also what an address has
// that is not public.
type CountryOf interface {
	Country(netip.Addr) string
}

// Countries is who may come, by the country of their address, as ISO 3166-1 alpha-2 in upper case: either those of Allow and
// nobody else, or everybody but those of Deny.
type Countries struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
	// Unknown is "allow" or "deny" for addresses of no known country, and for all of them while there is no country data.
	// Without it they are denied by an allow list, and allowed by a deny list, as in the firewall.
	Unknown string `json:"unknown,omitempty"`
}

// Validate says everything that is wrong with c. Whether a code is any country's is for those to say who have the data.
func (c *Countries) Validate() error {
	var e field.Errors
	if (len(c.Allow) > 0) == (len(c.Deny) > 0) {
		e.Add("", "name countries in either allow or deny")
	}
	for _, l := range []struct {
		at   string
		list []string
	}{{"allow", c.Allow}, {"deny", c.Deny}} {
		for i, cc := range l.list {
			if len(cc) != 2 || cc[0] < 'A' || cc[0] > 'Z' || cc[1] < 'A' || cc[1] > 'Z' {
				e.Add(field.Index(l.at, i), "%q is not a country; write two letters such as DE", cc)
			}
		}
	}
	if c.Unknown != "" && c.Unknown != "allow" && c.Unknown != "deny" {
		e.Add("unknown", "%q must be allow or deny", c.Unknown)
	}
	return e.Err()
}

// nations is a Countries, ready to decide.
type nations struct {
	listed  map[string]bool
	allow   bool // of those that are listed
	unknown bool
}

func (c *Countries) compile() *nations {
	if c == nil {
		return nil
	}
	n := &nations{listed: map[string]bool{}, allow: len(c.Allow) > 0}
	n.unknown = c.Unknown == "allow" || c.Unknown == "" && !n.allow
	for _, cc := range append(c.Allow[:len(c.Allow):len(c.Allow)], c.Deny...) {
		n.listed[cc] = true
	}
	return n
}

// admit reports whether an address may come. A nil policy admits everybody.
func (n *nations) admit(a netip.Addr, of CountryOf) bool {
	if n == nil {
		return true
	}
	cc := ""
	if of != nil {
		cc = of.Country(a)
	}
	if cc == "" {
		return n.unknown
	}
	return n.listed[cc] == n.allow
}
