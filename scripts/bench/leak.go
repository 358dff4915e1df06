package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

func leakSection(b *bench) error {
	for _, driver := range []string{"nft", "iptables"} {
		sent, received, updates, err := b.leak(driver)
		if err != nil {
			b.missing("leaked packets, "+driver, err)
			continue
		}
		b.row(row{What: "packets of a blocked source that got through, " + driver, Ours: fmt.Sprintf("%d of %d during %d replacements of 50,000 ranges", received, sent, updates), Target: "0", Met: met(received == 0 && sent > 1000)})
	}
	b.note("The source is in both lists that take turns as the feeds; it sends to an open port as fast as one thread can, each datagram being a new flow as long as none gets through. firewall/conformance has the same for 1,000 changes of other kinds, and runs on other kernels too.")
	return nil
}

func (b *bench) leak(driver string) (sent, received int64, updates int, err error) {
	l, err := newLane()
	if err != nil {
		return
	}
	defer l.close()
	var paths []string
	for _, name := range []string{smallA, smallB} {
		p, err := b.loaded(name)
		if err != nil {
			return 0, 0, 0, err
		}
		paths = append(paths, p)
	}
	if _, err = l.host.self("apply", driver, paths[0]); err != nil {
		return
	}
	sink, err := l.listen(openPort)
	if err != nil {
		return
	}
	// First that the counter counts: what is on no list gets through.
	if err = l.passes(sink); err != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	var s, r atomic.Int64
	floodDone, countDone := make(chan error, 1), make(chan struct{})
	go func() { floodDone <- l.blast(ctx, netip.MustParseAddr(leaker), &s) }()
	go func() {
		defer close(countDone)
		buf := make([]byte, 64)
		for {
			_ = sink.SetReadDeadline(time.Time{})
			if _, _, err := sink.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			r.Add(1)
		}
	}()
	n := 20
	if b.quick {
		n = 6
	}
	for ; updates < n && err == nil; updates++ {
		_, err = l.host.self("apply", driver, paths[(updates+1)%2])
	}
	stop()
	if e := <-floodDone; err == nil {
		err = e
	}
	_ = sink.SetReadDeadline(time.Now())
	sink.Close()
	<-countDone
	return s.Load(), r.Load(), updates, err
}

// passes checks that a source on no list gets through.
func (l *lane) passes(sink *net.UDPConn) error {
	if err := l.send(source{netip.MustParseAddr("198.18.200.1"), 4000}, openPort); err != nil {
		return err
	}
	buf := make([]byte, 64)
	_ = sink.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, _, err := sink.ReadFromUDPAddrPort(buf); err != nil {
		return fmt.Errorf("a source on no list does not get through: %w", err)
	}
	return sink.SetReadDeadline(time.Time{})
}

func (l *lane) send(from source, port uint16) error {
	return l.client.do(func() error {
		fd, err := packetSocket(clientLink)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Send(fd, frame(l.hostMAC, from, netip.AddrPortFrom(hostAddr, port), 18), 0)
	})
}

// blast sends as fast as one thread can until ctx ends.
func (l *lane) blast(ctx context.Context, from netip.Addr, sent *atomic.Int64) error {
	return l.client.do(func() error {
		fd, err := packetSocket(clientLink)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		f := frame(l.hostMAC, source{from, 4000}, netip.AddrPortFrom(hostAddr, openPort), 18)
		for ctx.Err() == nil {
			if err := unix.Send(fd, f, 0); err != nil && err != unix.ENOBUFS {
				return err
			}
			sent.Add(1)
		}
		return nil
	})
}
