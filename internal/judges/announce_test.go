package judges

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/upstream"
)

// listeners are ports of one program that reads PROXY headers and answers with what they say: "client port server-port".
type listeners struct{ plain, secure, h2c string }

func announcedNginx(t *testing.T, cert string) listeners {
	dir := folder(t)
	l := listeners{plain: freePort(t), secure: freePort(t)}
	write(t, dir, "cert.pem", cert)
	write(t, dir, "nginx.conf", fmt.Sprintf(`
daemon off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log notice; user nobody nogroup;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
	ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/cert.pem;
	server {
		listen 127.0.0.1:%[2]s proxy_protocol; listen 127.0.0.1:%[3]s ssl http2 proxy_protocol;
		location / { return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port"; }
	}
}`, dir, l.plain, l.secure))
	background(t, dir, l.plain, "nginx", "-c", dir+"/nginx.conf", "-e", dir+"/error.log", "-p", dir)
	return l
}

func announcedHAProxy(t *testing.T, cert string) listeners {
	dir := folder(t)
	l := listeners{plain: freePort(t), secure: freePort(t), h2c: freePort(t)}
	write(t, dir, "cert.pem", cert)
	write(t, dir, "haproxy.cfg", fmt.Sprintf(`
defaults
	mode http
	timeout client 20s
	timeout server 20s
	timeout connect 5s
frontend told
	bind 127.0.0.1:%[2]s accept-proxy
	bind 127.0.0.1:%[3]s accept-proxy ssl crt %[1]s/cert.pem alpn h2,http/1.1
	bind 127.0.0.1:%[4]s accept-proxy proto h2
	http-request return status 200 content-type text/plain lf-string "%%[src] %%[src_port] %%[dst_port]"
`, dir, l.plain, l.secure, l.h2c))
	background(t, dir, l.plain, "haproxy", "-db", "-f", dir+"/haproxy.cfg")
	return l
}

// TestAnnounced: HAProxy and nginx hear from routes and streams who the client is, in both versions, and never of another client.
func TestAnnounced(t *testing.T) {
	s := newSite(t, proxy.Config{})
	cert := s.certificate()
	root, err := os.ReadFile(s.rootFile)
	if err != nil {
		t.Fatal(err)
	}
	ca := string(root)
	for name, l := range map[string]listeners{"nginx": announcedNginx(t, cert), "HAProxy": announcedHAProxy(t, cert)} {
		for _, version := range []string{"v1", "v2"} {
			back := map[string]string{"http": "http://127.0.0.1:" + l.plain, "https": "https://127.0.0.1:" + l.secure}
			if l.h2c != "" {
				back["h2c"] = "h2c://127.0.0.1:" + l.h2c
			}
			for scheme, url := range back {
				r := proxy.Route{Host: "a.test", Backend: url, ProxyProtocol: version}
				if scheme == "https" {
					r.SNIName, r.CA = "a.test", ca
				}
				if err := s.Configure(proxy.Config{Routes: []proxy.Route{r}}); err != nil {
					t.Fatal(err)
				}
				s.manyClients(name+" "+version+" by "+scheme, func() (string, netip.AddrPort, error) { return s.askRoute() })
			}
			for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
				for mode, server := range map[string]upstream.Server{"plain": {URL: "tcp://127.0.0.1:" + l.plain}, "tls": {URL: "tls://127.0.0.1:" + l.secure, SNIName: "a.test", CA: ca}} {
					server.ProxyProtocol = version
					addr := s.stream(at, proxy.Stream{Backend: &upstream.Group{Servers: []upstream.Server{server}}})
					s.manyClients(name+" "+version+" by a stream, "+mode+", "+at, func() (string, netip.AddrPort, error) { return askStream(addr) })
				}
			}
		}
	}
}

// stream serves one stream, on a port that is free.
func (s *site) stream(at string, st proxy.Stream) string {
	s.Helper()
	l := listen(s.T, at)
	s.Cleanup(func() { l.Close() })
	st.Port = l.Addr().(*net.TCPAddr).Port
	if err := s.Configure(proxy.Config{Streams: []proxy.Stream{st}}); err != nil {
		s.Fatal(err)
	}
	go s.ServeStream(st.Key(), l)
	return l.Addr().String()
}

// manyClients ask at once, and each has to hear of itself.
func (s *site) manyClients(what string, ask func() (string, netip.AddrPort, error)) {
	s.Helper()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 4 {
				got, self, err := ask()
				want := fmt.Sprintf("%s %d ", self.Addr().Unmap(), self.Port())
				if err != nil || !strings.HasPrefix(got, want) {
					s.Errorf("%s: got %q, %v, want %q", what, got, err, want)
					return
				}
			}
		})
	}
	group.Wait()
}

// askRoute asks once on a connection of its own, three times.
func (s *site) askRoute() (string, netip.AddrPort, error) {
	var self netip.AddrPort
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, s.https)
		if err == nil {
			self = c.LocalAddr().(*net.TCPAddr).AddrPort()
		}
		return c, err
	}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	var last string
	for range 3 {
		resp, err := c.Get("https://a.test/")
		if err != nil {
			return "", self, err
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || last != "" && last != string(b) {
			return string(b), self, fmt.Errorf("after %q: %w", last, err)
		}
		last = string(b)
	}
	return last, self, nil
}

// askStream speaks HTTP/1.1 through a stream, without anybody between.
func askStream(addr string) (string, netip.AddrPort, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	self := c.LocalAddr().(*net.TCPAddr).AddrPort()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		return "", self, err
	}
	b, err := io.ReadAll(c)
	head, body, _ := strings.Cut(string(b), "\r\n\r\n")
	if port := addr[strings.LastIndexByte(addr, ':')+1:]; err == nil && !strings.HasSuffix(strings.TrimSpace(body), " "+port) {
		err = fmt.Errorf("the port of the stream is %s, and was told otherwise: %q %q", port, head, body)
	}
	return body, self, err
}

// certificate is the certificate and key that this site serves, as servers read them.
func (s *site) certificate() string {
	s.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(s.leaf.PrivateKey)
	if err != nil {
		s.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.leaf.Certificate[0]})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}
