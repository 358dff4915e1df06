package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// batched gives both ends of a connection whose one end puts writes together.
func batched(t *testing.T) (*handedConn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return &handedConn{Conn: near, batch: &batch{}}, far
}

// What is written arrives whole and in order, whatever the sizes, and before the end of the connection.
func TestWritesKeepTheirOrder(t *testing.T) {
	c, far := batched(t)
	var want bytes.Buffer
	go func() {
		for i := range 2000 {
			size := []int{1, 17, 300, direct - 1, direct, 3 * direct}[i%6]
			p := bytes.Repeat([]byte{byte(i)}, size)
			want.Write(p)
			if n, err := c.Write(p); n != size || err != nil {
				t.Errorf("write %d: %d, %v", i, n, err)
			}
			clear(p) // the writer's buffer is its own again
		}
		c.Close()
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("got %d bytes of %d, %v", len(got), want.Len(), err)
	}
}

// A reader that takes nothing stops the writer, holds little memory, and ends it with its deadline.
func TestWritesWaitForTheReader(t *testing.T) {
	c, _ := batched(t)
	if err := c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	p := []byte(strings.Repeat("x", 1000))
	written := 0
	for {
		n, err := c.Write(p)
		if written += n; err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			break
		}
		if written > 256<<20 {
			t.Fatal("the writer was never stopped")
		}
	}
	if n := len(c.batch.pending); n > maxPending+len(p) {
		t.Errorf("%d bytes are held", n)
	}
	c.Close()
}
