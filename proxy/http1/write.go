package http1

import (
	"errors"
	"strconv"
	"time"
)

// put puts text behind what is to be written.
func (c *conn) put(s string) { *c.output() = append(*c.output(), s...) }

// putHex begins a chunk.
func (c *conn) putHex(n int) {
	b := c.output()
	*b = append(strconv.AppendInt(*b, int64(n), 16), "\r\n"...)
}

func (c *conn) output() *[]byte {
	if c.out == nil {
		c.out = outs.Get().(*[]byte)
	}
	return c.out
}

// write puts p behind what is to be written, or writes it where that is much. What leaves are whole records of TLS, but for the last.
func (c *conn) write(p []byte) error {
	b := c.output()
	if len(*b)+len(p) <= outSize {
		*b = append(*b, p...)
		return nil
	}
	if n := outSize - len(*b); n > 0 && len(*b) > 0 {
		*b = append(*b, p[:n]...)
		p = p[n:]
	}
	if c.cork != nil {
		c.cork.Cork()
	}
	err := c.flush()
	if whole := len(p) / outSize * outSize; err == nil && whole > 0 {
		_, err = c.send(p[:whole])
		p = p[whole:]
	}
	if c.cork != nil {
		err = errors.Join(err, c.cork.Uncork())
	}
	if err == nil {
		*b = append(*b, p...)
	}
	return err
}

// flush writes what there is to write.
func (c *conn) flush() error {
	if c.out == nil || len(*c.out) == 0 {
		return nil
	}
	_, err := c.send(*c.out)
	*c.out = (*c.out)[:0]
	return err
}

// send writes to the client, who may take the stall time for it, if the handler has not said otherwise.
func (c *conn) send(p []byte) (int, error) {
	if !c.writeMoved.Load() {
		now, stall := time.Now(), c.s.cfg.Stall
		if left := c.writeUntil.Sub(now); left < stall || left > stall*5/4 {
			c.writeUntil = now.Add(stall * 9 / 8)
			if err := c.net.SetWriteDeadline(c.writeUntil); err != nil {
				return 0, err
			}
		}
	}
	return c.net.Write(p)
}
