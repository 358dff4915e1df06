package daemon

import (
	"bufio"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/state"
)

// sshdWatch remembers where sshd listens for a few seconds: finding out means to look at every process.
type sshdWatch struct {
	mu    sync.Mutex
	read  time.Time
	found []uint16
}

func (w *sshdWatch) ports(now time.Time) []uint16 {
	const fresh = 5 * time.Second
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read.IsZero() || now.Sub(w.read).Abs() > fresh {
		w.read, w.found = now, sshdPorts("/proc")
	}
	return w.found
}

// firstState is the default document, with the ports open that sshd listens on here: the first start must not cut off who
// made it.
func firstState(proc string) state.State {
	s := state.Default()
	for _, port := range sshdPorts(proc) {
		open := slices.ContainsFunc(s.Firewall.Ports, func(p firewall.Port) bool {
			return slices.ContainsFunc(p.Ports, func(r firewall.PortRange) bool { return r.First <= port && port <= r.Last })
		})
		if !open {
			s.Firewall.Ports = append(s.Firewall.Ports, firewall.Port{Name: "ssh-" + strconv.Itoa(int(port)), Protocol: firewall.TCP,
				Ports: []firewall.PortRange{{First: port, Last: port}}, Limit: "ssh"})
		}
	}
	return s
}

// sshdPorts lists the TCP ports on which a process named sshd listens in this network namespace.
func sshdPorts(proc string) []uint16 {
	listening := listeners(proc)
	if len(listening) == 0 {
		return nil
	}
	var out []uint16
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		dir := filepath.Join(proc, e.Name())
		if comm, err := os.ReadFile(filepath.Join(dir, "comm")); err != nil || strings.TrimSpace(string(comm)) != "sshd" {
			continue
		}
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			link, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			inode := strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")
			if port, ok := listening[inode]; err == nil && ok {
				out = append(out, port)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// listeners maps socket inodes to the TCP ports they listen on (proc_net_tcp in the kernel's documentation).
func listeners(proc string) map[string]uint16 {
	const stateListen = "0A"
	out := map[string]uint16{}
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(proc, "self/net", name))
		if err != nil {
			continue
		}
		for sc := bufio.NewScanner(f); sc.Scan(); {
			w := strings.Fields(sc.Text())
			if len(w) < 10 || w[3] != stateListen {
				continue
			}
			_, port, _ := strings.Cut(w[1], ":")
			if b, err := hex.DecodeString(port); err == nil && len(b) == 2 {
				out[w[9]] = uint16(b[0])<<8 | uint16(b[1])
			}
		}
		f.Close()
	}
	return out
}
