package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// BenchmarkStream is how fast one connection fetches from a back end: through nothing, through a plain stream, and with TLS that
// ends in the stream. An operation is a MiB.
func BenchmarkStream(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, zeros{}) }()
		}
	}()
	ca := newAuthority(b, "a.test")
	s, err := NewServer(Options{Certificates: ca})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	serve := func(st Stream) string {
		in, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		st.Port, st.Backend = int(addressOf(in.Addr()).Port()), to("tcp://"+l.Addr().String())
		if err := s.Configure(Config{Streams: []Stream{st}}); err != nil {
			b.Fatal(err)
		}
		go s.ServeStream(st.Key(), in)
		return in.Addr().String()
	}
	for _, x := range []struct {
		name string
		at   func() string
		tls  bool
	}{{"direct", func() string { return l.Addr().String() }, false}, {"plain", func() string { return serve(Stream{}) }, false},
		{"tls", func() string { return serve(Stream{Mode: StreamTLS, Names: []StreamName{{Name: "a.test"}}}) }, true}} {
		b.Run(x.name, func(b *testing.B) {
			c, err := net.Dial("tcp", x.at())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			if x.tls {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"})
			}
			buf := make([]byte, 1<<20)
			b.SetBytes(1 << 20)
			for b.Loop() {
				if _, err := io.ReadFull(c, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
