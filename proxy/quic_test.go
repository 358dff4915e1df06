package proxy

import (
	"context"
	"crypto/tls"

	"github.com/quic-go/quic-go"
)

// dialQUIC connects to one address, whatever the name.
func dialQUIC(addr string) func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
	return func(ctx context.Context, _ string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddrEarly(ctx, addr, t, q)
	}
}
