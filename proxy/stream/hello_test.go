package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// said is a connection on which a client says something, in pieces of some size, and nothing after that.
type said struct {
	net.Conn
	data []byte
	size int
}

func (c *said) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), c.size)], c.data)
	c.data = c.data[n:]
	return n, nil
}

func (c *said) Write([]byte) (int, error)        { panic("something was written to the client") }
func (c *said) Close() error                     { return nil }
func (c *said) SetDeadline(time.Time) error      { return nil }
func (c *said) SetReadDeadline(time.Time) error  { return nil }
func (c *said) SetWriteDeadline(time.Time) error { return nil }

// helloOf is what crypto/tls says first.
func helloOf(tb testing.TB, conf *tls.Config) []byte {
	tb.Helper()
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		_ = tls.Client(b, conf).Handshake()
		b.Close()
	}()
	buf := make([]byte, 16<<10)
	n, err := io.ReadAtLeast(a, buf, 100)
	if err != nil {
		tb.Fatal(err)
	}
	return buf[:n]
}

// splitRecords puts a handshake message into records of some size (RFC 8446, section 5.1, lets it be split).
func splitRecords(record []byte, size int) []byte {
	var out []byte
	for part := range slices.Chunk(record[5:], size) {
		out = append(append(out, record[0], record[1], record[2], byte(len(part)>>8), byte(len(part))), part...)
	}
	return out
}

func TestReadHello(t *testing.T) {
	long := strings.Repeat("a", 60) + "." + strings.Repeat("b", 60) + ".test"
	for name, conf := range map[string]*tls.Config{
		"a.test": {ServerName: "a.test", NextProtos: []string{"h2", "x"}},
		long:     {ServerName: long},
		"":       {InsecureSkipVerify: true},
		"old":    {ServerName: "old", MaxVersion: tls.VersionTLS12},
	} {
		hello := helloOf(t, conf)
		for kind, data := range map[string][]byte{"as it is": hello, "in small records": splitRecords(hello, 11), "with more behind it": append(slices.Clone(hello), "more"...)} {
			for _, size := range []int{1, 3, 1000, 1 << 20} {
				got, c, err := ReadHello(t.Context(), &said{data: slices.Clone(data), size: size})
				if err != nil {
					t.Errorf("%q %s, by %d: %v", name, kind, size, err)
					continue
				}
				if got.Name != name || !slices.Equal(got.Protocols, conf.NextProtos) {
					t.Errorf("%q %s, by %d: got %+v", name, kind, size, got)
				}
				if again, err := io.ReadAll(c); !bytes.Equal(again, data) || err != nil {
					t.Errorf("%q %s, by %d: %d bytes come again of %d, %v", name, kind, size, len(again), len(data), err)
				}
			}
		}
	}
}

// TestHelloIsBounded: nobody makes us keep more than a hello can be.
func TestHelloIsBounded(t *testing.T) {
	endless := &said{data: bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 1<<20), size: 1 << 20}
	_, _, err := ReadHello(t.Context(), endless)
	if err == nil || 6<<20-len(endless.data) > maxHello {
		t.Errorf("read %d bytes: %v", 6<<20-len(endless.data), err)
	}
	slow, end := net.Pipe()
	defer end.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := ReadHello(ctx, slow); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a client that says nothing: %v", err)
	}
}

// FuzzHello: whatever a client says, nothing breaks, nothing is written to it, and what is passed on is what it said.
func FuzzHello(f *testing.F) {
	hello := helloOf(f, &tls.Config{ServerName: "a.test"})
	for _, seed := range [][]byte{hello, splitRecords(hello, 7), hello[:50], []byte("GET / HTTP/1.1\r\n\r\n"), {0x80, 0x2e, 1, 3, 1}, {}} {
		f.Add(seed, 1)
		f.Add(seed, 1000)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		in := &said{data: slices.Clone(data), size: max(size, 1)}
		got, c, err := ReadHello(context.Background(), in)
		if err != nil {
			return
		}
		if len(got.Name) > 1<<16 {
			t.Errorf("a name of %d bytes", len(got.Name))
		}
		if again, err := io.ReadAll(c); !bytes.Equal(again, data) || err != nil {
			t.Errorf("%d bytes come again of %d, %v", len(again), len(data), err)
		}
	})
}
