package apps

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

// Modes of Egress.
const (
	EgressInternet = "internet"
	EgressNone     = "none"
	EgressList     = "list"
)

var hostForm = regexp.MustCompile(`^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)

func (g Egress) validate() error {
	var e field.Errors
	switch g.Mode {
	case "", EgressInternet, EgressNone:
		if len(g.Hosts) > 0 {
			e.Add("hosts", "is for mode list; write mode: list, or leave it out")
		}
	case EgressList:
		if len(g.Hosts) == 0 {
			e.Add("hosts", "is empty; name whom the app may talk to, or write mode: none")
		}
	default:
		e.Add("mode", "%q is not known; write internet, none or list", g.Mode)
	}
	for i, h := range g.Hosts {
		d, err := ParseDestination(h)
		if err == "" && !d.public() {
			err = "is not public, and apps reach nothing that is not"
		}
		if err != "" {
			e.Add(field.Index("hosts", i), "%q %s", h, err)
		}
	}
	return e.Err()
}

// Destination is one entry of an allow list: a name or addresses, with a port or 0 for every port.
type Destination struct {
	Name   string
	Prefix netip.Prefix
	Port   uint16
}

// public reports whether d is not wholly a part of the address space that is nobody's on the internet.
func (d Destination) public() bool {
	a := d.Prefix.Addr()
	return d.Name != "" || d.Prefix.Bits() == 0 || !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified()
}

// ParseDestination reads "example.org", "*.example.org:443", "192.0.2.0/24", "[2001:db8::1]:443". why says what is wrong.
func ParseDestination(s string) (d Destination, why string) {
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && (strings.HasPrefix(s, "[") && s[i-1] == ']' || strings.Count(s, ":") == 1) {
		n, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || n == 0 {
			return d, "has no port behind the colon; write 1 to 65535"
		}
		host, d.Port = s[:i], uint16(n)
	}
	if in, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(in, "]") {
		host = in[:len(in)-1]
	}
	if p, err := netip.ParsePrefix(host); err == nil {
		d.Prefix = p.Masked()
		return d, ""
	}
	if a, err := netip.ParseAddr(host); err == nil {
		d.Prefix = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		return d, ""
	}
	if d.Name = strings.ToLower(host); !hostForm.MatchString(d.Name) {
		return d, "is neither a name nor an address; write for example api.example.org:443 or 192.0.2.0/24"
	}
	return d, ""
}
