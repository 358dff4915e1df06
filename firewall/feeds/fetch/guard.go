package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
)

// guard decides which addresses one request may connect to. It looks at the address of each connection, not at names, so
// a name that resolves differently the second time gains nothing.
type guard struct {
	host string // of the configured URL

	mu sync.Mutex
	// redirected is set once the request left the configured URL; private once that one was found on an address that is
	// not public.
	redirected, private bool
}

// control is net.Dialer.ControlContext: it sees each address before a packet goes out.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().WithZone("").Unmap()
	if public(a) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.redirected && !g.private {
		return fmt.Errorf("a redirect from %s to the address %v was not followed: it is not public", g.host, a)
	}
	if !g.redirected {
		// Link-local addresses serve a cloud's credentials. A name must not lead there, only the address itself.
		if lit, err := netip.ParseAddr(g.host); a.IsLinkLocalUnicast() && (err != nil || lit.WithZone("").Unmap() != a) {
			return fmt.Errorf("%s resolves to the link-local address %v", g.host, a)
		}
		g.private = true
	} else if a.IsLinkLocalUnicast() {
		return fmt.Errorf("a redirect to the link-local address %v was not followed", a)
	}
	return nil
}

// redirect is http.Client.CheckRedirect.
func (g *guard) redirect(req *http.Request, via []*http.Request) error {
	g.mu.Lock()
	g.redirected = true
	g.mu.Unlock()
	switch last := via[len(via)-1].URL; {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return fmt.Errorf("a redirect to %q was not followed", printable(req.URL.Scheme))
	case last.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("a redirect from https to http was not followed")
	}
	return nil
}

// public reports whether an address is one that anybody on the internet could have. NAT64 and 6to4 prefixes are not: an
// IPv4 address of any kind may be inside.
func public(a netip.Addr) bool {
	if a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || !a.IsGlobalUnicast() {
		return false
	}
	for p := range strings.FieldsSeq("0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 64:ff9b::/96 64:ff9b:1::/48 2002::/16 fec0::/10") {
		if netip.MustParsePrefix(p).Contains(a) {
			return false
		}
	}
	return true
}
