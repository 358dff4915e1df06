package judges

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
)

// quiet is how long a client listens for more before it takes an exchange for over. What is judged is the logs, and they are
// waited for: a longer quiet only gives mistakes more time to show.
const quiet = 400 * time.Millisecond

// TestSmuggling: whatever a client sends, each back end sees the requests that the proxy has logged, and no other.
func TestSmuggling(t *testing.T) {
	var rows []*row
	for i := range attacks {
		a := &attacks[i]
		rows = append(rows, &row{name: a.name, path: fmt.Sprintf("/c%03d", i), whole: a.whole, cut: a.cut, early: a.whole > 1 && strings.HasPrefix(a.send, "POST"), send: func(s *site, path string) error {
			return s.attack(strings.ReplaceAll(a.send, "@/", path+"/"), func() bool { return s.logged(path, a.whole) })
		}})
	}
	for i := range downgrades {
		d := &downgrades[i]
		rows = append(rows, &row{name: "HTTP/2: " + d.name, path: fmt.Sprintf("/d%03d", i), whole: d.whole, cut: d.cut, send: func(s *site, path string) error { return s.downgrade(d, path) }})
	}
	all := backends(t)
	header, line := "| case |", "|---|"
	for _, b := range all {
		judge(t, b, rows)
		header, line = header+" "+b.name+" |", line+"---|"
	}
	table := header + "\n" + line + "\n"
	for _, r := range rows {
		table += "| " + r.name + " | " + strings.Join(r.cells, " | ") + " |\n"
	}
	if !t.Failed() {
		documented(t, "smuggling", table)
	}
}

// row is one case, with what came of it at each back end.
type row struct {
	name  string
	path  string
	whole int
	cut   bool
	early bool // a back end may answer the first request before its body is there, and then the connection ends
	send  func(*site, string) error
	cells []string
}

// judge runs all cases against one back end.
func judge(t *testing.T, b *backend, rows []*row) {
	s := newSite(t, proxy.Config{LogQuery: proxy.On, Routes: []proxy.Route{{Host: "a.test", Backend: b.url}, {Host: "b.test", Backend: b.url}}})
	var group sync.WaitGroup
	slots := make(chan struct{}, 24)
	for _, r := range rows {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := r.send(s, r.path); err != nil {
				t.Errorf("%s, %s: %v", b.name, r.name, err)
			}
			// Whatever is left on a connection to the back end meets these.
			for range 2 {
				if err := s.attack("GET "+r.path+"/after HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", func() bool { return false }); err != nil {
					t.Errorf("%s, %s: the request after: %v", b.name, r.name, err)
				}
			}
		})
	}
	group.Wait()
	complete := func() map[string]int {
		n := map[string]int{}
		for _, a := range s.records() {
			if a.Reason == "" && a.Route != "" {
				n[a.Method+" "+a.Host+" "+target(a)]++
			}
		}
		return n
	}
	// The log of a back end may come after its answer.
	var got map[string]int
	missing := ""
	defer func() {
		if t.Failed() && missing != "" {
			t.Logf("%s: the last that was missing was %q", b.name, missing)
		}
	}()
	until(t, 10*time.Second, b.name+" has logged what the proxy has", func() bool {
		got = map[string]int{}
		for _, v := range b.log() {
			got[strings.Replace(v.line, " ", " "+bare(v.host)+" ", 1)]++
		}
		for k, n := range complete() {
			if got[k] < n {
				missing = k
				return false
			}
		}
		return true
	})
	begun := complete()
	for _, a := range s.records() {
		if a.Reason != "" && a.Route != "" {
			begun[a.Method+" "+a.Host+" "+target(a)]++
		}
	}
	for k, n := range got {
		if n > begun[k] {
			t.Errorf("%s saw %q %d times, and the proxy %d times", b.name, k, n, begun[k])
		}
	}
	for _, v := range b.log() {
		if v.forwarded != "127.0.0.1" {
			t.Errorf("%s saw %q from %q", b.name, v.line, v.forwarded)
		}
		if strings.Contains(v.line, "smuggled") {
			t.Errorf("%s saw %q", b.name, v.line)
		}
	}
	for _, r := range rows {
		r.cells = append(r.cells, verdict(t, b, r))
	}
}

// verdict says what a back end saw of a case.
func verdict(t *testing.T, b *backend, r *row) string {
	whole, broken, after := 0, 0, 0
	for _, v := range b.log() {
		if !strings.Contains(v.line+"/", r.path+"/") {
			continue
		}
		switch {
		case strings.HasSuffix(v.line, "/after"):
			after++
		case v.status == "cut" || v.status == "400" || v.status == "408" || v.status == "000":
			broken++
		default:
			whole++
		}
	}
	if after != 2 {
		t.Errorf("%s, %s: %d of 2 requests after it arrived", b.name, r.name, after)
	}
	switch {
	case r.cut && whole+broken <= r.whole+1 && whole+broken >= r.whole:
		return fmt.Sprintf("at most %d", r.whole+1)
	case r.early && broken == 0 && (whole == r.whole || whole == r.whole-1):
		return fmt.Sprintf("%d", r.whole)
	case whole == r.whole && broken == 0:
		if whole == 0 {
			return "kept out"
		}
		return fmt.Sprint(whole)
	}
	t.Errorf("%s, %s: saw %d requests whole and %d broken, want %d whole", b.name, r.name, whole, broken, r.whole)
	return "?"
}

// target is what a back end sees of a record.
func target(a proxy.Access) string {
	if a.Query != "" {
		return a.Path + "?" + a.Query
	}
	return a.Path
}

var port = regexp.MustCompile(`\.?(:\d+)?$`)

// bare is a host as the proxy logs it.
func bare(host string) string { return strings.ToLower(port.ReplaceAllString(host, "")) }

// attack sends bytes over one connection, and reads until the other side closes, or is quiet when it has said enough.
func (s *site) attack(send string, enough func() bool) error {
	c, err := s.tls("http/1.1")
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(send)); err != nil {
		return err
	}
	b := make([]byte, 32<<10)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		_ = c.SetReadDeadline(time.Now().Add(quiet))
		if _, err := c.Read(b); err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || enough()) {
			return nil
		}
	}
	return nil
}

// logged is whether the proxy has logged so many requests below a path.
func (s *site) logged(path string, n int) bool {
	for _, a := range s.records() {
		if strings.Contains(a.Path, path+"/") {
			n--
		}
	}
	return n <= 0
}
