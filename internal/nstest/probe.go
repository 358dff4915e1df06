package nstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what became of a probe.
type Result string

// The results. Filtered means that nothing came back in time.
const (
	Open     Result = "open"
	Refused  Result = "refused"
	Filtered Result = "filtered"
)

// Patience is how long a probe waits for an answer: far above a round trip between namespaces on a busy machine, and
// below the second after which TCP sends its SYN again, so that a probe is exactly one SYN.
const Patience = 400 * time.Millisecond

// From is a namespace with a source address; the zero Src leaves the choice to the kernel.
type From struct {
	*NS
	Src netip.Addr
}

// From chooses the source address of probes.
func (n *NS) From(src netip.Addr) From { return From{n, src} }

// Dial probes proto ("tcp", "udp") once. Anything but the three results fails the test.
func (n *NS) Dial(t testing.TB, proto string, to netip.AddrPort) Result {
	return n.From(netip.Addr{}).Dial(t, proto, to)
}

// Dial probes proto ("tcp", "udp") once. Anything but the three results fails the test.
func (f From) Dial(t testing.TB, proto string, to netip.AddrPort) Result {
	t.Helper()
	c, err := f.dial(proto, to, Patience)
	if err == nil {
		defer c.Close()
		if proto == "udp" {
			err = askUDP(c)
		} else if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetLinger(0) // reset: no TIME_WAIT
		}
	}
	r, ok := classify(err)
	if !ok {
		t.Errorf("%s: dial %s %v: %v", f.Name, proto, to, err)
	}
	return r
}

// Eventually probes up to 25 times until the result is want, and returns the last one. It is for "open", which a busy
// machine can miss once, and for what changes with time.
func (f From) Eventually(t testing.TB, proto string, to netip.AddrPort, want Result) Result {
	t.Helper()
	var got Result
	for range 25 {
		begin := time.Now()
		if got = f.Dial(t, proto, to); got == want {
			break
		}
		if d := Patience - time.Since(begin); d > 0 {
			time.Sleep(d)
		}
	}
	return got
}

// Connect opens a TCP connection to a Server; all its reads and writes fail after the given patience.
func (f From) Connect(t testing.TB, to netip.AddrPort, patience time.Duration) *Conn {
	t.Helper()
	c, err := f.dial("tcp", to, patience)
	if err != nil {
		t.Fatalf("%s: connect %v: %v", f.Name, to, err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	k, err := newConn(c)
	if err != nil {
		t.Fatalf("%s: connect %v: greeting: %v", f.Name, to, err)
	}
	return k
}

// Burst opens count TCP connections at the same time, keeps those that open until all are decided, and returns how many
// did.
func (f From) Burst(t testing.TB, to netip.AddrPort, count int) int {
	t.Helper()
	return len(f.Hold(t, to, count))
}

// Hold opens count TCP connections at the same time and returns those that opened; they are reset with the test.
func (f From) Hold(t testing.TB, to netip.AddrPort, count int) []net.Conn {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	results := make(chan result)
	for range count {
		go func() {
			c, err := f.dial("tcp", to, Patience)
			results <- result{c, err}
		}()
	}
	var open []net.Conn
	for range count {
		r := <-results
		if r.err == nil {
			_ = r.c.(*net.TCPConn).SetLinger(0)
			t.Cleanup(func() { r.c.Close() })
			open = append(open, r.c)
		} else if _, ok := classify(r.err); !ok {
			t.Errorf("%s: dial %v: %v", f.Name, to, r.err)
		}
	}
	return open
}

func (f From) dial(proto string, to netip.AddrPort, patience time.Duration) (net.Conn, error) {
	var c net.Conn
	err := f.Do(func() error {
		d := net.Dialer{Timeout: patience, KeepAlive: -1}
		if f.Src.IsValid() {
			if proto == "tcp" {
				d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.Src, 0))
			} else {
				d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Src, 0))
			}
		}
		var err error
		c, err = d.DialContext(context.Background(), proto, to.String()) // a literal: no resolver, no other thread
		return err
	})
	return c, err
}

// askUDP sends up to three datagrams and waits for one answer.
func askUDP(c net.Conn) error {
	buf := make([]byte, 2048)
	_ = c.SetDeadline(time.Now().Add(Patience))
	if _, err := fmt.Fprint(c, "?"); err != nil {
		return err
	}
	_, err := c.Read(buf)
	return err
}

func classify(err error) (Result, bool) {
	var ne net.Error
	switch {
	case err == nil:
		return Open, true
	case errors.Is(err, unix.ECONNREFUSED):
		return Refused, true
	case errors.As(err, &ne) && ne.Timeout(), errors.Is(err, unix.EPERM): // EPERM: our own output policy
		return Filtered, true
	}
	return Filtered, false
}

// Stream opens a TCP connection.
func (f From) Stream(to netip.AddrPort, patience time.Duration) (net.Conn, error) {
	return f.dial("tcp", to, patience)
}
