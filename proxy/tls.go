package proxy

import (
	"crypto/tls"
	"errors"
	"slices"
)

// acmeTLS is the protocol of TLS-ALPN-01 (RFC 8737, section 6.2).
const acmeTLS = "acme-tls/1"

// tlsConfig is TLS 1.2 with suites that have forward secrecy and authenticated encryption, or TLS 1.3, whose suites all do.
// The keys of session tickets are made and changed each day by crypto/tls, and live only in this process.
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
			if !slices.Contains(hello.SupportedProtos, acmeTLS) {
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
	return s.cfg.Certificates.Certificate(hello.Context(), name)
}
