package proxy

import (
	"io"
	"net/http"
	"time"

	"github.com/platformd/platformd/proxy/upstream/h1"
)

// tunnel connects the client with the back end after both have changed the protocol. Each side may end its own direction.
func (o *forwarding) tunnel(resp *h1.Response) {
	x := o.x
	up, first := resp.Body.Tunnel()
	if up == nil {
		x.conn.server.fail(x, http.StatusBadGateway, "back end: it changed the protocol and gives no connection")
		return
	}
	defer up.Close()
	h := o.Into
	upgrade := h["Upgrade"]
	x.complete(h)
	down, rw, err := http.NewResponseController(o.out).Hijack()
	if err != nil {
		x.conn.server.fail(x, http.StatusBadGateway, "change of protocol: "+err.Error())
		return
	}
	defer down.Close()
	h["Connection"], h["Upgrade"] = upgrading, upgrade
	_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if err == nil {
		err = h.Write(rw)
	}
	if err == nil {
		_, err = rw.WriteString("\r\n")
	}
	if err == nil {
		_, err = rw.Write(first)
	}
	if err == nil {
		err = rw.Flush()
	}
	if err != nil {
		x.reason = "the client left"
		return
	}
	sent := make(chan int64)
	go func() {
		n, err := transfer(up, rw.Reader)
		if err != nil {
			down.Close()
		}
		sent <- n
	}()
	n, err := transfer(down, up)
	if err != nil {
		up.Close()
	}
	// The back end has said all; a client that has nothing to say either must not keep the tunnel.
	_ = down.SetReadDeadline(time.Now().Add(x.stallTime()))
	x.written += n + int64(len(first))
	x.received += <-sent
}

var upgrading = []string{"Upgrade"}

// transfer copies until from ends, and then ends that direction of to.
func transfer(to io.Writer, from io.Reader) (int64, error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, *b)
	if err != nil {
		if c, ok := to.(io.Closer); ok {
			c.Close()
		}
		return n, err
	}
	if w, ok := to.(interface{ CloseWrite() error }); ok {
		return n, w.CloseWrite()
	}
	if c, ok := to.(io.Closer); ok {
		return n, c.Close()
	}
	return n, nil
}
