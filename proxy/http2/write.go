package http2

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// maxPending is how much may wait to be written; who has more to say waits. Buffers are small ones, or large ones that take that
// and one frame more.
const (
	maxPending = 48 << 10
	frameHead  = 9
	smallSize  = 4 << 10
	largeSize  = maxPending + maxFrame + 4*frameHead
)

var (
	smalls = sync.Pool{New: func() any { b := make([]byte, 0, smallSize); return &b }}
	larges = sync.Pool{New: func() any { b := make([]byte, 0, largeSize); return &b }}
)

// free gives a buffer back.
func free(b []byte) {
	b = b[:0]
	switch cap(b) {
	case smallSize:
		smalls.Put(&b)
	case largeSize:
		larges.Put(&b)
	}
}

// frame begins a frame of n bytes behind what is to be written. The lock is held, as for all that follow.
func (c *conn) frame(n int, kind http2.FrameType, flags http2.Flags, stream uint32) {
	if c.out == nil {
		c.out = *smalls.Get().(*[]byte)
	}
	if need := len(c.out) + frameHead + n; need > cap(c.out) && need <= largeSize {
		b := append(*larges.Get().(*[]byte), c.out...)
		free(c.out)
		c.out = b
	}
	c.out = append(c.out, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	c.out = binary.BigEndian.AppendUint32(c.out, stream)
}

func (c *conn) settings() {
	all := []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.s.cfg.Streams)}, {ID: http2.SettingInitialWindowSize, Val: streamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.s.cfg.MaxHead)}, {ID: http2.SettingMaxFrameSize, Val: maxFrame}}
	c.frame(6*len(all), http2.FrameSettings, 0, 0)
	for _, s := range all {
		c.out = binary.BigEndian.AppendUint16(c.out, uint16(s.ID))
		c.out = binary.BigEndian.AppendUint32(c.out, s.Val)
	}
	c.windowUpdate(0, connWindow-firstWindow)
	c.recv.left = connWindow
}

func (c *conn) windowUpdate(stream, n uint32) {
	c.frame(4, http2.FrameWindowUpdate, 0, stream)
	c.out = binary.BigEndian.AppendUint32(c.out, n)
}

func (c *conn) reset(stream uint32, code http2.ErrCode) {
	c.frame(4, http2.FrameRSTStream, 0, stream)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(code))
}

func (c *conn) ping(ack bool, data [8]byte) {
	var f http2.Flags
	if ack {
		f = http2.FlagPingAck
	}
	c.frame(8, http2.FramePing, f, 0)
	c.out = append(c.out, data[:]...)
}

func (c *conn) goAway(code http2.ErrCode) {
	c.frame(8, http2.FrameGoAway, 0, 0)
	c.out = binary.BigEndian.AppendUint32(c.out, c.highest)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(code))
}

// headers writes the block of fields that the encoder has made.
func (c *conn) headers(stream uint32, end bool) {
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for b := c.block.Bytes(); ; {
		n := min(len(b), maxFrame)
		if n == len(b) {
			flags |= http2.FlagHeadersEndHeaders // the same bit for CONTINUATION
		}
		c.frame(n, kind, flags, stream)
		c.out = append(c.out, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			break
		}
		kind, flags = http2.FrameContinuation, 0
	}
	c.block.Reset()
}

// kick has written what there is to write.
func (c *conn) kick() {
	if !c.writing && len(c.out) > 0 && c.err == nil {
		c.writing = true
		go c.write()
	}
}

// spare waits until there is room for more. It reports false where nothing can be written any more.
func (c *conn) spare() bool {
	for len(c.out) > maxPending && c.err == nil {
		c.kick()
		c.room.Wait()
	}
	return c.err == nil
}

// write writes until nothing is left.
func (c *conn) write() {
	runtime.Gosched() // others say now what they have to say
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 && c.err == nil {
		b := c.out
		c.out = nil
		c.taken++
		c.mu.Unlock()
		err := c.send(b)
		free(b)
		c.mu.Lock()
		if err != nil {
			c.fail(err)
		}
		c.room.Broadcast()
	}
	c.writing = false
	c.room.Broadcast()
}

// send writes to the client, who may take the stall time for each part.
func (c *conn) send(b []byte) error {
	for len(b) > 0 {
		now, stall := time.Now(), c.s.cfg.Stall
		if left := c.writeUntil.Sub(now); left < stall || left > stall*5/4 {
			c.writeUntil = now.Add(stall * 9 / 8)
			if err := c.net.SetWriteDeadline(c.writeUntil); err != nil {
				return err
			}
		}
		part := b[:min(len(b), largeSize)]
		corked := c.cork != nil && len(part) > maxFrame
		if corked {
			c.cork.Cork()
		}
		n, err := c.net.Write(part)
		if corked {
			err = errors.Join(err, c.cork.Uncork())
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
