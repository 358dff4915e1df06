package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
)

// Exec is a program to run in the container of an app.
type Exec struct {
	Command []string
	TTY     bool
	// In may be nil, which is an input that has ended.
	In          io.Reader
	Out, Errors io.Writer
	// Resize gives rows and columns of the terminal, as they change. It may be nil.
	Resize <-chan [2]uint16
}

// ExecApp runs a program in the container of an app and returns its exit code.
func (c *Client) ExecApp(ctx context.Context, name string, e Exec) (int, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return 0, &UnreachableError{Socket: c.socket, Cause: err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	q := url.Values{"arg": e.Command, "tty": {fmt.Sprint(e.TTY)}}
	u := url.URL{Scheme: "http", Host: "platformd", Path: "/v1/apps/" + name + "/exec", RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", wire.ExecProtocol)
	if err := req.Write(conn); err != nil {
		return 0, &UnreachableError{Socket: c.socket, Cause: err}
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return 0, &UnreachableError{Socket: c.socket, Cause: err}
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return 0, problemOf(resp)
	}
	var mu sync.Mutex
	send := func(kind byte, content []byte) error {
		mu.Lock()
		defer mu.Unlock()
		return wire.WriteFrame(conn, kind, content)
	}
	done := make(chan struct{})
	defer close(done)
	go sendInput(e.In, send)
	go func() {
		for {
			select {
			case size := <-e.Resize:
				_ = send(wire.ExecResize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, size[0]), size[1]))
			case <-done:
				return
			}
		}
	}()
	code, err := receive(r, e)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return code, err
}

func sendInput(in io.Reader, send func(byte, []byte) error) {
	if in != nil {
		buf := make([]byte, 16<<10)
		for {
			n, err := in.Read(buf)
			if n > 0 && send(wire.ExecInput, buf[:n]) != nil {
				return
			}
			if err != nil {
				break
			}
		}
	}
	_ = send(wire.ExecInput, nil)
}

func receive(r io.Reader, e Exec) (int, error) {
	for {
		kind, content, err := wire.ReadFrame(r)
		if err != nil {
			return 0, fmt.Errorf("read what the program says: %w", err)
		}
		switch {
		case kind == wire.ExecOutput:
			_, err = e.Out.Write(content)
		case kind == wire.ExecErrors:
			_, err = e.Errors.Write(content)
		case kind == wire.ExecFailed:
			return 0, errors.New(string(content))
		case kind == wire.ExecEnded && len(content) == 4:
			return int(int32(binary.BigEndian.Uint32(content))), nil
		}
		if err != nil {
			return 0, err
		}
	}
}
