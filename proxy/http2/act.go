package http2

import (
	"golang.org/x/net/http2"
)

// protocol is the error of a client that does not keep to the protocol.
const protocol = http2.ConnectionError(http2.ErrCodeProtocol)

// act does what a frame asks for. An error ends the stream, or the connection.
func (c *conn) act(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.spare() {
		return c.err
	}
	c.pinged = false
	defer c.kick()
	if !c.settled {
		if f, ok := f.(*http2.SettingsFrame); !ok || f.IsAck() {
			return protocol
		}
		c.settled = true
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.take(f)
	case *http2.MetaHeadersFrame:
		return c.request(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.widen(f)
	case *http2.RSTStreamFrame:
		if f.StreamID > c.highest {
			return protocol // it was never opened
		}
		if st := c.streams[f.StreamID]; st != nil {
			st.cut(http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode})
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.ping(true, f.Data)
		}
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.GoAwayFrame:
		c.leave()
	case *http2.PushPromiseFrame:
		return protocol
	}
	return nil
}

// take puts settings of the client into force, in their order.
func (c *conn) take(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSize(s.Val)
		case http2.SettingInitialWindowSize:
			more := int64(s.Val) - c.initial
			c.initial = int64(s.Val)
			for _, st := range c.streams {
				if st.window += more; st.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				st.signal()
			}
		}
		return nil
	})
	if err == nil {
		c.frame(0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	}
	return err
}

const maxWindow = 1<<31 - 1

// widen lets more of answers be sent.
func (c *conn) widen(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.wake()
		return nil
	}
	if f.StreamID > c.highest {
		return protocol
	}
	if st := c.streams[f.StreamID]; st != nil {
		if st.window += int64(f.Increment); st.window > maxWindow {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
		}
		st.signal()
	}
	return nil
}

// data takes a part of a body.
func (c *conn) data(f *http2.DataFrame) error {
	id, n := f.StreamID, int64(f.Length)
	if id > c.highest {
		if c.leaving {
			return nil
		}
		return protocol
	}
	if !c.recv.take(n) {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	st := c.streams[id]
	if st == nil || st.body.over {
		c.giveBack(n)
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	}
	return st.body.come(f.Data(), n, f.StreamEnded())
}

// refuse ends a stream by an error of the client's.
func (c *conn) refuse(e http2.StreamError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.spare() {
		return c.err
	}
	c.highest = max(c.highest, e.StreamID) // it was used, if only for that
	c.reset(e.StreamID, e.Code)
	if st := c.streams[e.StreamID]; st != nil {
		st.cut(e)
	}
	c.kick()
	return nil
}
