// Package plan says which DNS records a name needs so that people reach this host by it, and how what is there differs.
//
// A name needs an A record for each IPv4 address of the host and an AAAA record for each IPv6 address, and CAA records that
// let its CAs issue (RFC 8659), where they say by what word they are known. What is there and leads elsewhere is told, and
// removed only where that is asked for: somebody may mean it. Everything here is pure.
package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/certs/order"
)

// ttl is short, so that a move to another host is seen soon.
const ttl = 5 * time.Minute

// Want are the records that a name needs.
func Want(name string, addresses []netip.Addr, issuers []string) []order.Record {
	var out []order.Record
	for _, a := range addresses {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		out = append(out, order.Record{Name: name, Type: kind, Value: a.String(), TTL: ttl})
	}
	for _, i := range issuers {
		out = append(out, order.Record{Name: strings.TrimPrefix(name, "*."), Type: "CAA", Value: fmt.Sprintf(`0 issue %q`, i), TTL: ttl})
	}
	return out
}

// Diff is what makes have into want for the names and types that want has. Records that lead elsewhere are in odd, and with
// replace they are removed first. CAA records of others stay in any case: each lets somebody issue.
func Diff(have, want []order.Record, replace bool) (changes []order.Change, odd []order.Record) {
	for _, h := range have {
		concerns := slices.ContainsFunc(want, func(w order.Record) bool {
			return w.Name == h.Name && (kindOf(w) == kindOf(h) || isAddress(h) && isAddress(w))
		})
		alias := h.Type == "CNAME" && slices.ContainsFunc(want, func(w order.Record) bool { return w.Name == h.Name })
		if !alias && (!concerns || !isAddress(h)) || slices.ContainsFunc(want, func(w order.Record) bool { return same(w, h) }) {
			continue
		}
		odd = append(odd, h)
		if replace {
			changes = append(changes, order.Change{Remove: true, Record: h})
		}
	}
	// Without any CAA record everybody may issue: the first one would forbid it to all others, which is for people to decide.
	for _, w := range want {
		there := slices.ContainsFunc(have, func(h order.Record) bool { return same(w, h) })
		if kindOf(w) == "CAA" && !slices.ContainsFunc(have, func(h order.Record) bool { return h.Name == w.Name && kindOf(h) == "CAA" }) {
			there = true
		}
		if !there {
			changes = append(changes, order.Change{Record: w})
		}
	}
	return changes, odd
}

// Remove is what takes a name away from this host: its address records that lead here.
func Remove(have []order.Record, name string, addresses []netip.Addr) (changes []order.Change) {
	for _, h := range have {
		a, err := netip.ParseAddr(h.Value)
		if h.Name == name && isAddress(h) && err == nil && slices.Contains(addresses, a.Unmap()) {
			changes = append(changes, order.Change{Remove: true, Record: h})
		}
	}
	return changes
}

// Public are those of the addresses that the internet can reach.
func Public(addresses []netip.Addr) (out []netip.Addr) {
	shared := netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	for _, a := range addresses {
		a = a.Unmap()
		if a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

func kindOf(r order.Record) string { return strings.ToUpper(r.Type) }

func isAddress(r order.Record) bool { return kindOf(r) == "A" || kindOf(r) == "AAAA" }

func same(a, b order.Record) bool {
	return a.Name == b.Name && kindOf(a) == kindOf(b) && strings.EqualFold(strings.ReplaceAll(a.Value, `"`, ""), strings.ReplaceAll(b.Value, `"`, ""))
}
