package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/limits"
)

// pipeline sends n equal requests over plain HTTP on one connection and counts answers by status.
func pipeline(t *testing.T, s *site, n int, request string) map[int]int {
	t.Helper()
	c, err := net.Dial("tcp", s.http)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer c.Close()
	go func() {
		const batch = 50
		for range n / batch {
			if _, err := c.Write(bytes.Repeat([]byte(request), batch)); err != nil {
				return
			}
		}
	}()
	got := map[int]int{}
	r := bufio.NewReader(c)
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("after %v: %v", got, err)
			return got
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		got[resp.StatusCode]++
	}
	return got
}

// TestDefaultsAtTheirBoundary: 5,000 requests a second of one address, and ten with a password, in real time over TCP. What
// is admitted is the burst, and what the time that it took has earned.
func TestDefaultsAtTheirBoundary(t *testing.T) {
	b := mirror(t)
	for _, tt := range []struct {
		name, request  string
		rate           int
		senders, count int
	}{
		{"requests", "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n", 5000, 4, 10_000},
		{"passwords", "POST /login HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", 10, 1, 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, Config{Limits: limits.Config{Delay: &noDelay}, Routes: []Route{{Host: "a.test", Backend: b.URL}}}) // plain HTTP is answered with a redirect
			var mu sync.Mutex
			var group sync.WaitGroup
			got := map[int]int{}
			begin := time.Now()
			for range tt.senders {
				group.Go(func() {
					one := pipeline(t, s, tt.count, tt.request)
					mu.Lock()
					defer mu.Unlock()
					for status, n := range one {
						got[status] += n
					}
				})
			}
			group.Wait()
			earned := int(time.Since(begin).Seconds() * float64(tt.rate))
			passed, limited := got[301], got[429]
			if passed < tt.rate || passed > tt.rate+earned+1 || limited == 0 || passed+limited != tt.senders*tt.count {
				t.Errorf("got %v, want %d to %d passed", got, tt.rate, tt.rate+earned+1)
			}
		})
	}
}
