package nflog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/florianl/go-nflog/v2"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// readBuffer holds some ten thousand packets.
const readBuffer = 4 << 20

// Read calls handle for each packet that the group gets, until ctx ends. lost is called when the kernel had more packets
// than the socket could hold. handle must be quick.
func Read(ctx context.Context, group uint16, handle func(Packet), lost func()) error {
	const hundredths = 20 // of a second until a batch is delivered
	nf, err := nflog.Open(&nflog.Config{Group: group, Copymode: nflog.CopyPacket, Bufsize: firewall.LogSnapLen, Timeout: hundredths})
	if err != nil {
		return fmt.Errorf("open packet log: %w", err)
	}
	defer nf.Close()
	_ = nf.Con.SetReadBuffer(readBuffer) // a smaller one only loses more
	ended := make(chan error, 1)
	names := interfaceNames{}
	onPacket := func(a nflog.Attribute) int {
		if p, ok := decode(a); ok {
			if a.InDev != nil {
				p.Interface = names.of(int(*a.InDev))
			}
			handle(p)
		}
		return 0
	}
	onError := func(err error) int {
		var timeout net.Error
		switch {
		case ctx.Err() != nil:
			ended <- ctx.Err()
			return 1
		case errors.Is(err, unix.ENOBUFS):
			lost()
			return 0
		case errors.As(err, &timeout) && timeout.Timeout():
			return 0
		}
		ended <- fmt.Errorf("read packet log: %w", err)
		return 1
	}
	if err := nf.RegisterWithErrorFunc(ctx, onPacket, onError); err != nil {
		return fmt.Errorf("join packet log group %d: %w", group, err)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func decode(a nflog.Attribute) (Packet, bool) {
	p := Packet{Time: time.Now()}
	if a.Prefix == nil || a.Payload == nil {
		return p, false
	}
	reason, ours := strings.CutPrefix(strings.TrimRight(*a.Prefix, "\x00 "), firewall.LogPrefix)
	p.Reason = firewall.Reason(reason)
	return p, ours && p.parse(*a.Payload)
}

// interfaceNames remembers names by index for as long as they are asked for often.
type interfaceNames map[int]struct {
	name string
	read time.Time
}

func (n interfaceNames) of(index int) string {
	const fresh = 10 * time.Second
	if e, ok := n[index]; ok && time.Since(e.read) < fresh {
		return e.name
	}
	name := ""
	if i, err := net.InterfaceByIndex(index); err == nil {
		name = i.Name
	}
	n[index] = struct {
		name string
		read time.Time
	}{name, time.Now()}
	return name
}
