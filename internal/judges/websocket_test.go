package judges

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/platformd/platformd/proxy"
)

// echo sends every message back, and ends as its client does.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}, CompressionMode: websocket.CompressionContextTakeover, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(64 << 20)
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
})

// webSocket opens one through the proxy.
func (s *site) webSocket(o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	if o == nil {
		o = &websocket.DialOptions{}
	}
	o.HTTPClient = s.client(false)
	o.HTTPClient.Timeout = 0
	c, resp, err := websocket.Dial(s.Context(), "wss://a.test/ws", o)
	if err == nil {
		c.SetReadLimit(64 << 20)
		s.Cleanup(func() { c.CloseNow() })
	}
	return c, resp, err
}

func echoSite(t *testing.T) *site {
	return newSite(t, proxy.Config{Routes: []proxy.Route{{Host: "a.test", Backend: serve(t, echo)}}})
}

// TestWebSocketMessages: Autobahn's families 1 (text and binary of every length), 9 (large), 12 and 13 (compressed).
func TestWebSocketMessages(t *testing.T) {
	s := echoSite(t)
	for name, mode := range map[string]websocket.CompressionMode{"plain": websocket.CompressionDisabled, "compressed": websocket.CompressionContextTakeover, "compressed alone": websocket.CompressionNoContextTakeover} {
		c, resp, err := s.webSocket(&websocket.DialOptions{CompressionMode: mode, Subprotocols: []string{"other", "echo"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "echo" {
			t.Errorf("%s: got subprotocol %q", name, c.Subprotocol())
		}
		if got, want := resp.Header.Get("Sec-WebSocket-Extensions") != "", mode != websocket.CompressionDisabled; got != want {
			t.Errorf("%s: extensions %q", name, resp.Header.Get("Sec-WebSocket-Extensions"))
		}
		for _, size := range []int{0, 1, 125, 126, 127, 128, 65535, 65536, 1 << 20, 16 << 20} {
			for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
				want := bytes.Repeat([]byte("\xe2\x82\xac"), size/3+1)[:size/3*3]
				if kind == websocket.MessageBinary {
					want = make([]byte, size)
					_, _ = rand.Read(want)
				}
				errs := make(chan error, 1)
				go func() { errs <- c.Write(t.Context(), kind, want) }()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				gotKind, got, err := c.Read(ctx)
				cancel()
				if err := errors.Join(err, <-errs); err != nil {
					t.Fatalf("%s, %v of %d: %v", name, kind, size, err)
				}
				if gotKind != kind || !bytes.Equal(got, want) {
					t.Errorf("%s, %v of %d: got %v of %d", name, kind, size, gotKind, len(got))
				}
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

// frame is a frame of a client (RFC 6455, section 5.2), with a mask of zeros. first has FIN, the reserved bits and the opcode.
func frame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(append(b, 0, 0, 0, 0)) + payload
}

// answer is a frame of a server.
func answer(first byte, payload string) string {
	return string([]byte{first, byte(len(payload))}) + payload
}

const (
	fin                          = 0x80
	more, text, bin              = 0, 1, 2
	end, ping, pong              = 8, 9, 10
	rsv1, rsv2, rsv3             = 0x40, 0x20, 0x10
	normal, wrong, badText       = "\x03\xe8", "\x03\xea", "\x03\xef"
	greeting                     = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	acceptance                   = "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	closedNormally, closedWrong  = "\x88\x02" + normal, "wrong"
	closedBadText, closedSilence = "bad text", ""
)

// TestWebSocketFrames: Autobahn's families 2 (pings), 3 (reserved bits), 4 (opcodes), 5 (fragments), 6 (UTF-8), 7 (closing) and
// 10 (frames in pieces), as bytes (those that are wrong end where they
// are, as what is sent to one who has closed may lose the answer): what the back end makes of them arrives as it is, whether they come at once or one by one.
func TestWebSocketFrames(t *testing.T) {
	s := echoSite(t)
	bye := frame(fin|end, normal)
	for _, c := range []struct{ name, send, want string }{
		{"2: a ping", frame(fin|ping, "") + bye, answer(fin|pong, "") + closedNormally},
		{"2: a ping with data", frame(fin|ping, "\x00\xff\xfe") + bye, answer(fin|pong, "\x00\xff\xfe") + closedNormally},
		{"2: a ping of 125", frame(fin|ping, strings.Repeat("p", 125)) + bye, answer(fin|pong, strings.Repeat("p", 125)) + closedNormally},
		{"2: a ping of 126", frame(fin|ping, strings.Repeat("p", 126))[:8], closedWrong},
		{"2: a pong that nobody asked for", frame(fin|pong, "x") + frame(fin|text, "a") + bye, answer(fin|text, "a") + closedNormally},
		{"2: ten pings", strings.Repeat(frame(fin|ping, "p"), 10) + bye, strings.Repeat(answer(fin|pong, "p"), 10) + closedNormally},
		{"3: first reserved bit", frame(fin|rsv1|text, ""), closedWrong},
		{"3: second reserved bit", frame(fin|rsv2|text, ""), closedWrong},
		{"3: third reserved bit, of a ping", frame(fin|rsv3|ping, ""), closedWrong},
		{"4: opcode 3", frame(fin|3, ""), closedWrong},
		{"4: opcode 7", frame(fin|7, ""), closedWrong},
		{"4: opcode 11", frame(fin|11, ""), closedWrong},
		{"4: opcode 15", frame(fin|15, ""), closedWrong},
		{"5: two fragments", frame(text, "a") + frame(fin|more, "b") + bye, answer(fin|text, "ab") + closedNormally},
		{"5: a ping between fragments", frame(text, "a") + frame(fin|ping, "p") + frame(fin|more, "b") + bye, answer(fin|pong, "p") + answer(fin|text, "ab") + closedNormally},
		{"5: many fragments with pings", frame(bin, "a") + frame(more, "") + frame(fin|ping, "1") + frame(more, "b") + frame(fin|ping, "2") + frame(fin|more, "c") + bye,
			answer(fin|pong, "1") + answer(fin|pong, "2") + answer(fin|bin, "abc") + closedNormally},
		{"5: a ping in fragments", frame(ping, ""), closedWrong},
		{"5: a continuation of nothing", frame(fin|more, ""), closedWrong},
		{"5: a message within another", frame(text, "a") + frame(fin|text, ""), closedWrong},
		{"6: UTF-8 split within a character", frame(text, "\xce\xba\xe1") + frame(fin|more, "\xbd\xb9") + bye, answer(fin|text, "\xce\xba\xe1\xbd\xb9") + closedNormally},
		{"6: the largest character", frame(fin|text, "\xf4\x8f\xbf\xbf") + bye, answer(fin|text, "\xf4\x8f\xbf\xbf") + closedNormally},
		{"6: NUL", frame(fin|text, "\x00") + bye, answer(fin|text, "\x00") + closedNormally},
		{"7: closing without a reason", frame(fin|end, ""), answer(fin|end, "")},
		{"7: closing with a reason", frame(fin|end, "\x03\xe8bye"), answer(fin|end, "\x03\xe8bye")},
		{"7: closing with a code of an application", frame(fin|end, "\x0b\xb8x"), answer(fin|end, "\x0b\xb8x")},
		{"7: closing with half a code", frame(fin|end, "\x03"), closedWrong},
		{"7: closing with code 1005", frame(fin|end, "\x03\xed"), closedWrong},
		{"7: a message behind the closing", bye + frame(fin|text, "a"), closedNormally},
		{"7: the end without closing", "", closedSilence},
	} {
		for _, pieces := range []bool{false, true} {
			got, err := s.speak(c.send, pieces)
			if err != nil {
				t.Errorf("%s, in pieces %v: %v", c.name, pieces, err)
				continue
			}
			switch c.want {
			case closedWrong:
				// Which text the back end gives is its own affair.
				if len(got) < 4 || got[0] != fin|end || got[2:4] != wrong {
					t.Errorf("%s, in pieces %v: got %q, want a closing with 1002", c.name, pieces, got)
				}
			default:
				if got != c.want {
					t.Errorf("%s, in pieces %v: got %q, want %q", c.name, pieces, got, c.want)
				}
			}
		}
	}
}

// speak sends frames, ends its side, and gives what came back.
func (s *site) speak(frames string, pieces bool) (string, error) {
	c, err := s.upgraded()
	if err != nil {
		return "", err
	}
	defer c.Close()
	step := max(len(frames), 1)
	if pieces {
		step = 1
	}
	for i := 0; i < len(frames); i += step {
		if _, err := io.WriteString(c, frames[i:min(i+step, len(frames))]); err != nil {
			break // the other side has closed, and what it said is there to be read
		}
	}
	if frames == "" {
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			return "", err
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(c)
	return string(got), err
}

// upgraded is a connection that speaks WebSocket by hand.
func (s *site) upgraded() (net.Conn, error) {
	c, err := s.tls("http/1.1")
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, greeting); err != nil {
		return nil, err
	}
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
		head = append(head, b...)
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(bytes.ToLower(head), bytes.ToLower([]byte(acceptance))) {
		return nil, errors.New(string(head))
	}
	return c, c.SetDeadline(time.Time{})
}

// TestWebSocketPingFlood: ten thousand pings are answered in order, without anybody waiting for more room.
func TestWebSocketPingFlood(t *testing.T) {
	s := echoSite(t)
	c, err := s.upgraded()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	const n = 10_000
	go io.WriteString(c, strings.Repeat(frame(fin|ping, "0123456789"), n)+frame(fin|end, normal))
	got, err := io.ReadAll(c)
	if want := strings.Repeat(answer(fin|pong, "0123456789"), n) + closedNormally; string(got) != want || err != nil {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
	}
}

// TestWebSocketOutlivesChanges: a connection without traffic goes on when the configuration changes, when its own route goes
// away, and when the proxy drains, up to the end of its grace.
func TestWebSocketOutlivesChanges(t *testing.T) {
	b := serve(t, echo)
	s := newSite(t, proxy.Config{Routes: []proxy.Route{{Host: "a.test", Backend: b}}})
	c, _, err := s.webSocket(nil)
	if err != nil {
		t.Fatal(err)
	}
	say := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.Write(ctx, websocket.MessageText, []byte(when)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != when {
			t.Fatalf("%s: got %q, %v", when, got, err)
		}
	}
	say("at first")
	for _, conf := range []proxy.Config{{Routes: []proxy.Route{{Host: "a.test", Backend: serve(t, hello)}, {Host: "b.test", Backend: b}}}, {}} {
		if err := s.Configure(conf); err != nil {
			t.Fatal(err)
		}
		say("after a change")
	}
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(ctx, time.Millisecond) }()
	until(t, 10*time.Second, "nobody else is served", func() bool {
		c, err := net.Dial("tcp", s.https)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	say("while it drains")
	select {
	case err := <-drained:
		t.Fatalf("the drain ended before the connection: %v", err)
	case <-time.After(quiet):
	}
	say("later")
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	cancel()
}
