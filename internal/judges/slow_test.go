package judges

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/field"
)

// TestSlowClients: slowhttptest's attacks, all at once. Others are served meanwhile, and the slow are sent away.
func TestSlowClients(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	b := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/big" {
			http.ServeContent(w, r, "big.bin", time.Time{}, bytes.NewReader(big))
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	// A client gets as long as it takes slowhttptest to send twice.
	patience, connections, seconds := 3*time.Second, 150, 20
	if long() {
		patience, connections, seconds = 15*time.Second, 2000, 90
	}
	d := field.Duration(patience)
	s := newSite(t, proxy.Config{Timeouts: proxy.Timeout{Header: d, Idle: d, Stall: d}, Routes: []proxy.Route{{Backend: b}}})

	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	served := 0
	others.Go(func() {
		for ctx.Err() == nil {
			for _, two := range []bool{false, true} {
				c := s.client(two) // a new connection, as it is those that an attack keeps away
				resp, err := c.Get("https://a.test/")
				if err != nil {
					t.Errorf("after %d requests: %v", served, err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				c.CloseIdleConnections()
				if err != nil || resp.StatusCode != 200 || string(body) != "hello" {
					t.Errorf("after %d requests: got %d %.40q, %v", served, resp.StatusCode, body, err)
					return
				}
				served++
			}
		}
	})
	interval := fmt.Sprint(int(patience/time.Second) - 1)
	common := []string{"-c", fmt.Sprint(connections), "-r", fmt.Sprint(connections), "-l", fmt.Sprint(seconds), "-p", "5"}
	var attacks sync.WaitGroup
	began := time.Now()
	for name, args := range map[string][]string{
		"slowloris": {"-H", "-i", interval, "-x", "24", "-u", s.url("/")},
		"slow body": {"-B", "-i", interval, "-s", "65536", "-x", "10", "-t", "POST", "-u", s.url("/")},
		"slow read": {"-X", "-w", "256", "-y", "512", "-n", interval, "-z", "16", "-k", "1", "-u", s.url("/big")},
		"range":     {"-R", "-a", "5", "-b", "1500", "-t", "HEAD", "-u", s.url("/big")},
	} {
		attacks.Go(func() {
			out, _ := run(t, time.Duration(seconds+30)*time.Second, "slowhttptest", append(args, common...)...)
			tail := out[strings.LastIndex(out, "slow HTTP test status")+1:]
			if !strings.Contains(tail, "service available:") || strings.Contains(out, "service available:   NO") {
				t.Errorf("%s: the service was not there for others:\n%s", name, tail)
			}
			if name == "slow read" {
				// OpenSSL has read on for the program, which does not notice that the connection is gone.
				n := 0
				for _, a := range s.records() {
					if a.Path == "/big" && a.Method == "GET" && a.Time.Add(time.Duration(a.Took)).Before(began.Add(time.Duration(seconds)*time.Second*3/4)) {
						n++
					}
				}
				if n < connections {
					t.Errorf("%s: only %d of %d answers have ended", name, n, connections)
				}
			} else if !strings.Contains(tail, "No open connections left") {
				t.Errorf("%s: slow clients were not sent away:\n%s", name, tail)
			}
		})
	}
	attacks.Wait()
	cancel()
	others.Wait()
	if served < 2*seconds/2 {
		t.Errorf("only %d requests of others were served", served)
	}
	until(t, 30*time.Second, "all connections are gone", func() bool { return s.Connections() == 0 })
}

// TestStalledAnswers: what a client did not take in time is not kept for it.
func TestStalledAnswers(t *testing.T) {
	b := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 64<<20))
	}))
	s := newSite(t, proxy.Config{Timeouts: proxy.Timeout{Stall: field.Duration(time.Second)}, Routes: []proxy.Route{{Host: "a.test", Backend: b}}})
	c, err := s.tls("http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	until(t, 10*time.Second, "the answer has begun", func() bool { return s.Connections() == 1 })
	until(t, 30*time.Second, "the client was given up", func() bool { return s.Connections() == 0 })
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d bytes more, %v", n, err)
	}
}

// zeros is endless.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
