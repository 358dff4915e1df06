package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/ranges"
)

// misbehave is what a child that was taken over might do.
func misbehave(mode string) int {
	out := os.NewFile(fdOut, "output")
	good := func() { ranges.Encode(out, ranges.FromSlice([]ranges.Range{})) }
	switch mode {
	case "state": // reports how it was started
		confine(true)
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
	case "busy":
		confine(true)
		lower(unix.RLIMIT_CPU, 1)
		for {
			continue
		}
	case "memory":
		confine(true)
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
		confine(true)
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
		{"busy", "killed by the kernel: out of CPU time"},
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
