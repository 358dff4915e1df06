package main

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
)

// bigBuffers lets one transaction be as big as it takes.
func bigBuffers(c *netlink.Conn) error {
	if err := c.SetWriteBuffer(256 << 20); err != nil {
		return err
	}
	return c.SetReadBuffer(256 << 20)
}

// nativeInt64 reads a number as the kernel wrote it.
func nativeInt64(b []byte) int64 { return int64(binary.NativeEndian.Uint64(b)) }
