package proxy

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

const signature2 = "0d0a0d0a000d0a515549540a"

func bytesOf(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// announce sends a header and a request, and gives the answer; "" where the connection ends without one.
func (s *site) announce(t *testing.T, header string, secure bool) string {
	t.Helper()
	to := s.http
	if secure {
		to = s.https
	}
	c, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	request := "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"
	if secure {
		io.WriteString(c, header)
		tc := tls.Client(c, &tls.Config{RootCAs: s.ca.pool, ServerName: "a.test"})
		if tc.Handshake() != nil {
			return ""
		}
		c = tc
		io.WriteString(c, request)
	} else {
		io.WriteString(c, header+request) // in one segment
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, b)
}

func TestProxyHeaders(t *testing.T) {
	b := mirror(t)
	conf := Config{Routes: []Route{{Host: "a.test", Backend: b.URL, PlainHTTP: true}}, Trusted: []string{"127.0.0.0/8"}, ProxyProtocol: true, Timeouts: Timeout{Header: field.Duration(time.Second)}}
	s := newSite(t, conf)
	v4 := "c0000207" + "7f000001" + "1234" + "01bb"
	v6 := "20010db8000000000000000000000007" + "00000000000000000000000000000001" + "1234" + "01bb"
	for _, x := range []struct{ name, header, want string }{
		{"version 1, IPv4", "PROXY TCP4 192.0.2.7 127.0.0.1 1234 443\r\n", "192.0.2.7"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 ::1 1234 443\r\n", "2001:db8::7"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "127.0.0.1"},
		{"version 1, unknown with text", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "127.0.0.1"},
		{"version 2, IPv4", bytesOf(t, signature2+"2111"+"000c"+v4), "192.0.2.7"},
		{"version 2, IPv6", bytesOf(t, signature2+"2121"+"0024"+v6), "2001:db8::7"},
		{"version 2, IPv4 and a TLV", bytesOf(t, signature2+"2111"+"0010"+v4+"04000100"), "192.0.2.7"},
		{"version 2, local", bytesOf(t, signature2+"2000"+"0000"), "127.0.0.1"},
		{"version 2, local with addresses", bytesOf(t, signature2+"2011"+"000c"+v4), "127.0.0.1"},
		{"none", "", ""},
		{"version 1, not an address", "PROXY TCP4 192.0.2.777 127.0.0.1 1234 443\r\n", ""},
		{"version 1, no address", "PROXY TCP4 0.0.0.0 127.0.0.1 1234 443\r\n", ""},
		{"version 1, wrong family", "PROXY TCP4 2001:db8::7 ::1 1234 443\r\n", ""},
		{"version 1, without end", "PROXY TCP4 " + strings.Repeat("1", 200), ""},
		{"version 2, of UDP", bytesOf(t, signature2+"2112"+"000c"+v4), ""},
		{"version 2, unix", bytesOf(t, signature2+"2131"+"00d8"+strings.Repeat("61", 216)), ""},
		{"version 2, too short", bytesOf(t, signature2+"2111"+"0004"+"c0000207"), ""},
		{"version 2, unknown command", bytesOf(t, signature2+"2511"+"000c"+v4), ""},
		{"garbage", "\x00\x01\x02\x03 garbage\r\n\r\n", ""},
	} {
		for _, secure := range []bool{false, true} {
			got := s.announce(t, x.header, secure)
			if x.want == "" {
				if strings.HasPrefix(got, "200") {
					t.Errorf("%s, TLS %v: was served: %s", x.name, secure, got)
				}
				continue
			}
			// The proxy itself is trusted in what it forwards; a client that it announces is not.
			client := x.want
			if client == "127.0.0.1" {
				client = "6.6.6.6"
			}
			if !strings.HasPrefix(got, "200") || !strings.Contains(got, "\nX-Real-Ip: "+client+"\n") || x.want != "127.0.0.1" && strings.Contains(got, "6.6.6.6") {
				t.Errorf("%s, TLS %v: got %q, want the client %s", x.name, secure, got, x.want)
			}
		}
	}
	// Who says nothing is not waited for for ever.
	c, err := net.Dial("tcp", s.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a connection without a header: %v, want that it is closed", err)
	}
	eventually(t, "every place is given back", func() bool { return s.Connections() == 0 })
	// Anybody else.
	conf.Trusted = []string{"192.0.2.0/24"}
	if err := s.Configure(conf); err != nil {
		t.Fatal(err)
	}
	if got := s.announce(t, "", true); !strings.Contains(got, "\nX-Real-Ip: 127.0.0.1\n") {
		t.Errorf("a stranger without a header: got %q", got)
	}
	for _, secure := range []bool{false, true} {
		if got := s.announce(t, "PROXY TCP4 192.0.2.7 127.0.0.1 1234 443\r\n", secure); strings.HasPrefix(got, "200") {
			t.Errorf("a stranger is believed: %q", got)
		}
	}
}
