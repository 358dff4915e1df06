package certs

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/state"
)

// normal is a name as it is kept: in lower case, without the last dot.
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// grantable reports whether it makes sense to ask a CA for a name: a public one issues for no address, no single label and
// no name that is set aside for other uses (RFC 6761, RFC 6762, RFC 7686, RFC 8375, and .internal).
func grantable(name string, ca state.CA) bool {
	if isAddress(name) || !strings.Contains(strings.TrimPrefix(name, "*."), ".") {
		return false
	}
	if ca.Root != "" {
		return true
	}
	for _, end := range strings.Fields(".test .localhost .invalid .example .local .onion .alt .internal .home.arpa .lan .localdomain") {
		if strings.HasSuffix(name, end) {
			return false
		}
	}
	return true
}

// renewAt is when a certificate is to be renewed. The jitter comes from its fingerprint, so that it is the same after a
// restart, and another for each certificate.
func renewAt(c *Certificate) time.Time {
	life := c.Expires.Sub(c.NotBefore)
	part := fraction(c.Fingerprint)
	at := c.Expires.Add(-min(renewBefore, life/renewPart)).Add(scale(min(spread, life/30), part))
	if !c.Window.Start.IsZero() {
		at = earlier(at, c.Window.Start.Add(scale(c.Window.End.Sub(c.Window.Start), part)))
	}
	return at
}

// fraction is a number from 0 to 1 that a fingerprint stands for.
func fraction(fingerprint string) float64 {
	b, err := hex.DecodeString(fingerprint)
	if err != nil || len(b) < 2 {
		return 0
	}
	return float64(uint16(b[0])<<8|uint16(b[1])) / (1 << 16)
}

func scale(d time.Duration, part float64) time.Duration { return time.Duration(float64(d) * part) }
