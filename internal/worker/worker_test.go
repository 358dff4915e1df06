package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/firewall/ranges"
)

// nobody is a user that exists in every Debian and owns nothing.
const nobody = 65534

// TestMain makes the test binary the worker when the pool starts it so.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "worker" {
		if os.Args[2] == "outbound" {
			os.Exit(Outbound(os.Stdin, os.Stdout, os.Stderr))
		}
		os.Exit(misbehave(os.Args[2]))
	}
	os.Exit(m.Run())
}

func pool(t *testing.T, args ...string) *Pool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests start processes as another user: run them as root")
	}
	if len(args) == 0 {
		args = []string{"outbound"}
	}
	var log bytes.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	p, err := New(Config{UID: nobody, GID: nobody, TempDir: t.TempDir(), Args: append([]string{"platformd", "worker"}, args...), UserAgent: "platformd-test",
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func collect(t *testing.T, r *Result) string {
	t.Helper()
	rs, err := ranges.Collect(r.Copy().Ranges)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range rs {
		out = append(out, x.String())
	}
	return strings.Join(out, " ")
}

// onlyKernel leaves out of Weak what a kernel without Landlock causes.
func onlyKernel(weak []string) bool {
	return !slices.ContainsFunc(weak, func(s string) bool { return !strings.HasPrefix(s, "no Landlock:") })
}

func TestFetchFeed(t *testing.T) {
	var agent string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent = r.UserAgent()
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "# list\n8.8.8.8\n8.8.8.9\nnonsense\n2001:db8::/32\n")
	}))
	defer s.Close()
	p := pool(t)
	res, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: s.URL + "/list"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if got := collect(t, res); got != "8.8.8.8/31 2001:db8::/32" {
		t.Errorf("got %s", got)
	}
	c := res.Copy()
	if c.Format != feeds.Netset || c.ETag != `"v1"` || c.Bad != 1 || len(c.BadLines) != 1 || c.BadLines[0].Line != 4 || c.Lines != 4 || agent != "platformd-test" {
		t.Errorf("got %+v, user agent %q", c, agent)
	}
	if !onlyKernel(res.Weak) {
		t.Errorf("confinement is weak: %q", res.Weak)
	}
	again, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: s.URL + "/list", ETag: c.ETag})
	if err != nil || !again.NotModified || again.Close() != nil {
		t.Errorf("conditional: got %+v %v", again, err)
	}
}

func TestFetchFeedFailures(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "8.8.8.8\n")
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) {
		for line := bytes.Repeat([]byte("8.8.8.8\n"), 1000); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>\x1b[2Jsorry") })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	p := pool(t)
	tests := []struct {
		name string
		job  Job
		want string
	}{
		{"cut", Job{Source: s.URL + "/cut"}, "unexpected EOF"},
		{"huge", Job{Source: s.URL + "/huge", Feed: feeds.Limits{Bytes: 1 << 20}}, "more than 1048576 bytes"},
		{"too many ranges", Job{Source: s.URL + "/huge", Feed: feeds.Limits{Ranges: 10}}, "more than 10 ranges"},
		{"endless redirects", Job{Source: s.URL + "/loop"}, "more than 5 redirects"},
		{"slow", Job{Source: s.URL + "/slow", Timeout: 300 * time.Millisecond}, "deadline exceeded"},
		{"web page", Job{Source: s.URL + "/page"}, "it is a web page"},
		{"missing", Job{Source: s.URL + "/none"}, "server answered 404"},
		{"busy", Job{Source: s.URL + "/busy"}, "server answered 503"},
		{"relative path", Job{Source: "list.txt"}, "neither a URL nor an absolute path"},
		{"scheme", Job{Source: "file:///etc/shadow"}, `scheme "file"`},
		{"format", Job{Source: s.URL, Format: "xml"}, `format "xml" is unknown`},
		{"missing file", Job{Source: "/nonexistent/list"}, "no such file"},
		{"folder", Job{Source: "/etc"}, "not a regular file"},
		{"device", Job{Source: "/dev/zero"}, "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.job.Kind = FetchFeed
			res, err := p.Run(t.Context(), tt.job)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
			if want := map[string]time.Duration{"busy": time.Minute}[tt.name]; res.RetryAfter != want {
				t.Errorf("got retry after %v, want %v", res.RetryAfter, want)
			}
			if _, err := ranges.Collect(res.Copy().Ranges); err == nil {
				t.Error("a failed job has ranges")
			}
		})
	}
}

func TestFeedFromAFileOnlyRootCanRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("8.8.8.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := pool(t)
	res, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if got := collect(t, res); got != "8.8.8.8" || !onlyKernel(res.Weak) {
		t.Errorf("got %s, weak %q", got, res.Weak)
	}
	same, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path, ETag: res.ETag})
	if err != nil || !same.NotModified {
		t.Errorf("same file: got %+v %v", same, err)
	}
	if err := os.WriteFile(path, []byte("8.8.8.8\n9.9.9.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path, ETag: res.ETag})
	if err != nil || other.NotModified || collect(t, other) != "8.8.8.8 9.9.9.9" || other.Close() != nil {
		t.Errorf("changed file: got %+v %v", other, err)
	}
}

func TestParseGeoAtFullSize(t *testing.T) {
	p := pool(t)
	var sources []geo.Source
	for _, path := range []string{"/usr/share/tor/geoip", "/usr/share/tor/geoip6"} {
		res, err := p.Run(t.Context(), Job{Kind: ParseGeo, Source: path})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		if !onlyKernel(res.Weak) {
			t.Errorf("confinement is weak: %q", res.Weak)
		}
		sources = append(sources, res.Geo())
	}
	store, err := geo.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m, changed, err := store.Put(sources, false, time.Unix(1, 0))
	if err != nil || !changed || m.DB.V4 < 300_000 || m.DB.V6 < 200_000 || m.Sources[0].Stats.Format != geo.Tor || m.Sources[0].Stamp == "" {
		t.Errorf("got %+v %v %v", m, changed, err)
	}
	if _, err := p.Run(t.Context(), Job{Kind: ParseGeo, Source: "/etc/passwd"}); err == nil || !strings.Contains(err.Error(), "/etc/passwd") {
		t.Errorf("not country data: got %v", err)
	}
	if _, err := p.Run(t.Context(), Job{Kind: ParseGeo, Source: "https://example.org/geo.mmdb"}); err == nil || !strings.Contains(err.Error(), "absolute path") {
		t.Errorf("country data by URL: got %v", err)
	}
}

// misbehave is what a child that was taken over might do.
func misbehave(mode string) int {
	out := os.NewFile(fdOut, "output")
	good := func() { ranges.Encode(out, ranges.FromSlice([]ranges.Range{})) }
	switch mode {
	case "state": // reports how it was started
		confine()
		confineFiles(os.Args[3] == "network")
		fmt.Printf(`{"error":%q}`, state())
	case "chatty":
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
				return 1
			}
		}
	case "parent":
		return runParent(os.Args[3:])
	case "hang":
		call()
	case "hang-with-child": // which keeps our standard output open
		p, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", fdExe), []string{"platformd", "worker", "hang"}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
		if err != nil {
			panic(err)
		}
		p.Wait()
	case "crash":
		panic("index out of range\x1b[2J")
	case "no-output":
		fmt.Print(`{}`)
	case "not-json":
		good()
		fmt.Print(`hello`)
	case "unknown-field":
		good()
		fmt.Print(`{"path":"/etc/shadow"}`)
	case "bad-counts":
		good()
		fmt.Print(`{"lines":1,"bad":2}`)
	case "bad-etag":
		good()
		fmt.Print(`{"etag":"a\r\nHost: b"}`)
	case "not-modified":
		fmt.Print(`{"not_modified":true}`)
	case "unsorted":
		h := []byte("pfranges\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00")
		out.Write(append(h, 9, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0))
		fmt.Print(`{}`)
	case "many":
		var rs []ranges.Range
		for i := range 20 {
			r, _ := ranges.Parse(fmt.Sprintf("8.0.0.%d", 2*i))
			rs = append(rs, r)
		}
		ranges.Encode(out, ranges.FromSlice(rs))
		fmt.Print(`{}`)
	case "memory":
		confine()
		var keep [][]byte
		for range 64 { // 8 GiB
			b := make([]byte, 128<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b)
		}
		fmt.Printf(`{"error":"held %d blocks"}`, len(keep))
	case "disk":
		confine()
		b := make([]byte, 1<<20)
		for range limitFile>>20 + 1 {
			if _, err := out.Write(b); err != nil {
				fmt.Printf(`{"error":%q}`, err)
				return 0
			}
		}
	}
	return 0
}

// state is a line about what this process can do.
func state() string {
	var s []string
	add := func(format string, args ...any) { s = append(s, fmt.Sprintf(format, args...)) }
	groups, _ := os.Getgroups()
	add("uid=%d gid=%d groups=%d", os.Geteuid(), os.Getegid(), len(groups))
	add("env=%d", len(os.Environ()))
	if caps, err := effective(); err == nil {
		add("caps=%d", caps)
	}
	nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	add("nnp=%d", nnp)
	add("pid=%d", os.Getpid())
	_, err := os.ReadFile("/etc/shadow")
	add("shadow=%v", err != nil)
	_, err = os.ReadFile("/etc/passwd")
	add("passwd-denied=%v", errors.Is(err, os.ErrPermission))
	_, err = os.ReadFile("/etc/hosts")
	add("hosts-denied=%v", errors.Is(err, os.ErrPermission))
	add("loopback-up=%v", loopbackUp())
	_, err = os.Create("/tmp/worker-was-here")
	add("tmp-denied=%v", errors.Is(err, os.ErrPermission))
	return strings.Join(s, " ")
}

// loopbackUp reports whether this network namespace is one that somebody uses.
func loopbackUp() bool {
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return false
	}
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return false
	}
	defer unix.Close(udp)
	return unix.IoctlIfreq(udp, unix.SIOCGIFFLAGS, ifr) == nil && ifr.Uint16()&unix.IFF_UP != 0
}

func TestChildIsConfined(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	weak, err := landlock()
	if err != nil {
		t.Fatal(err)
	}
	if weak != "" {
		t.Fatalf("this kernel cannot show the confinement: %s", weak)
	}
	for mode, job := range map[string]Job{"network": {Source: "http://127.0.0.1:1/"}, "file": {Source: path}} {
		job.Kind = FetchFeed
		_, err := pool(t, "state", mode).Run(t.Context(), job)
		want := fmt.Sprintf("uid=%d gid=%d groups=0 env=2 caps=0 nnp=1 pid=1 shadow=true passwd-denied=true hosts-denied=%v loopback-up=%v tmp-denied=true", nobody, nobody, mode == "file", mode == "network")
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", mode, err, want)
		}
	}
}

// landlock says whether the kernel has it, without using it.
func landlock() (string, error) {
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return "no Landlock: " + errno.Error(), nil
	}
	return "", nil
}

func TestChildIsNotBelieved(t *testing.T) {
	tests := []struct{ mode, want string }{
		{"chatty", "wrote too much"},
		{"crash", "panic: index out of range"},
		{"no-output", "only 0 bytes"},
		{"not-json", "not what a worker says"},
		{"unknown-field", "not what a worker says"},
		{"bad-counts", "counts do not agree"},
		{"bad-etag", "validators are not plain text"},
		{"not-modified", "nobody asked"},
		{"many", "20 ranges, at most 10"},
		{"memory", "out of memory"},
		{"disk", "file too large"},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			p := pool(t, tt.mode)
			_, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: "http://127.0.0.1:1/", Feed: feeds.Limits{Ranges: 10}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if left, _ := os.ReadDir(p.cfg.TempDir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	res, err := pool(t, "unsorted").Run(t.Context(), Job{Kind: FetchFeed, Source: "http://127.0.0.1:1/"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if _, err := ranges.Collect(res.Copy().Ranges); !errors.Is(err, ranges.ErrOrder) {
		t.Errorf("unsorted: got %v, want %v", err, ranges.ErrOrder)
	}
}

// waiting listens for the children that call.
func waiting(t *testing.T) (url string, next func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String() + "/", func() net.Conn {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		return c
	}
}

// gone waits until the process at the other end is gone.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a child is still there: %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	for _, mode := range []string{"hang", "hang-with-child"} {
		t.Run(mode, func(t *testing.T) {
			url, next := waiting(t)
			p := pool(t, mode)
			ctx, cancel := context.WithCancel(t.Context())
			conn := make(chan net.Conn)
			go func() {
				c := next()
				cancel()
				conn <- c
			}()
			if _, err := p.Run(ctx, Job{Kind: FetchFeed, Source: url}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
			gone(t, <-conn)
			if _, err := p.Run(ctx, Job{Kind: FetchFeed, Source: url}); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled before: got %v", err)
			}
		})
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	url, next := waiting(t)
	parent := exec.Command("/proc/self/exe", "worker", "parent", "hang", url, t.TempDir())
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	c := next()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	gone(t, c)
}

func TestWeakInAUserNamespaceWithoutTheUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("8.8.8.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command("/proc/self/exe", "worker", "parent", "outbound", path, t.TempDir())
	parent.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}}}
	out, err := parent.CombinedOutput()
	if want := "user 65534 is not in it"; err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "read 1") {
		t.Errorf("got %s %v, want %q", out, err, want)
	}
}

// runParent is a daemon that runs one job: the mode of its child, the source, a folder.
func runParent(args []string) int {
	p, err := New(Config{UID: nobody, GID: nobody, TempDir: args[2], Args: []string{"platformd", "worker", args[0]}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	res, err := p.Run(context.Background(), Job{Kind: FetchFeed, Source: args[1]})
	rs, _ := ranges.Collect(res.Copy().Ranges)
	fmt.Println("read", len(rs), res.Weak, err)
	return 0
}

// call connects to the source of the job on standard input and stays connected.
func call() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		panic(err)
	}
	c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(req.Job.Source, "http://"), "/"))
	if err != nil {
		panic(err)
	}
	c.Read(make([]byte, 1))
}

func TestNew(t *testing.T) {
	for name, cfg := range map[string]Config{"no folder": {}, "not a folder": {TempDir: "/etc/passwd"}, "user without group": {TempDir: "/tmp", UID: 1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWeakIsSaid(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("8.8.8.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{TempDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if !slices.ContainsFunc(res.Weak, func(s string) bool { return strings.Contains(s, "no unprivileged user is configured") }) || !strings.Contains(log.String(), "confined less") {
		t.Errorf("got weak %q, log %s", res.Weak, log.String())
	}
}

func TestMapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "uid_map")
	if err := os.WriteFile(path, []byte("         0       1000          1\n         5     100000         10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint32]bool{0: true, 1: false, 4: false, 5: true, 14: true, 15: false, nobody: false} {
		if got := mapped(path, id); got != want {
			t.Errorf("%d: got %v, want %v", id, got, want)
		}
	}
	if mapped("/nonexistent", 0) {
		t.Error("a map that is not there maps")
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"format":"csv:2","lines":3,"bad":1,"bad_lines":[{"line":1,"cause":"x\u001b"}],"etag":"\"v1\""}`))
	f.Add([]byte(`{"retry_after":-1}`))
	f.Add([]byte(`{"geo":{"format":"tor","lines":5,"records":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r reply
		if decode(data, &r) != nil || r.check() != nil {
			return
		}
		for _, s := range append(r.Weak, r.Error, r.ETag, r.LastModified) {
			if len(s) > 4*maxText || strings.ContainsAny(s, "\x00\x1b\n\r") {
				t.Errorf("got %q", s)
			}
		}
	})
}
