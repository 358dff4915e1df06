package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
)

// acmeTLS is the protocol of TLS-ALPN-01 (RFC 8737, section 6.2).
const acmeTLS = "acme-tls/1"

// tlsConfig is TLS 1.2 with suites that have forward secrecy and authenticated encryption, or TLS 1.3, whose suites all do.
// The keys of session tickets are made and changed each day by crypto/tls, until SetKeys says others.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.certificate,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if !isChallenge(hello) {
				return s.configFor(hello), nil
			}
			c := s.cfg.Certificates.Challenge(hello.ServerName)
			if c == nil {
				return nil, errors.New("no challenge for this name")
			}
			return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acmeTLS}, Certificates: []tls.Certificate{*c}}, nil
		},
	}
}

func isChallenge(hello *tls.ClientHelloInfo) bool {
	return slices.Contains(hello.SupportedProtos, acmeTLS)
}

// Keys are secrets that the processes share that serve one after the other, so that clients need not notice: sessions are
// resumed, and a client whose QUIC connection is gone is told so. They are for memory alone.
type Keys struct {
	// Tickets are of session tickets, 32 bytes each: the first makes them, all are good to resume.
	Tickets [][]byte `json:"tickets"`
	// Reset is of stateless resets (RFC 9000, section 10.3), 32 bytes. It is used from the next start of HTTP/3 on.
	Reset []byte `json:"reset"`
}

type keys struct{ Reset [32]byte }

const maxTicketKeys = 16

// SetKeys puts keys in the place of those before.
func (s *Server) SetKeys(k Keys) error {
	if len(k.Tickets) == 0 || len(k.Tickets) > maxTicketKeys || len(k.Reset) != 32 {
		return errors.New("set keys: there are too few or too many, or one is not 32 bytes long")
	}
	var tickets [][32]byte
	for _, t := range k.Tickets {
		if len(t) != 32 {
			return errors.New("set keys: one is not 32 bytes long")
		}
		tickets = append(tickets, [32]byte(t))
	}
	s.tls.SetSessionTicketKeys(tickets)
	s.keys.Store(&keys{[32]byte(k.Reset)})
	return nil
}

// quicTLS is TLS for HTTP/3, which works with a copy of what it is given: each handshake gets a copy of what is valid then.
func (s *Server) quicTLS() *tls.Config {
	c := s.tls.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if one := s.configFor(hello); one != nil {
			return one, nil
		}
		one := s.tls.Clone()
		one.GetConfigForClient = nil
		return one, nil
	}
	return c
}

// certificate picks by the name in the hello, in its normal form.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hello.ServerName
	if name != "" {
		n, err := normalHost(name)
		if err != nil {
			return nil, err
		}
		name = n
	}
	ctx, cancel := context.WithTimeout(hello.Context(), orDefault(s.table.Load().cfg.Timeouts.Header, defaultHeader))
	defer cancel()
	return s.cfg.Certificates.Certificate(ctx, name)
}
