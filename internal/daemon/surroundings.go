package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/doctor"
)

// What doctor asks of programs and files that are not ours. Each answer is bounded.

const (
	sshdPatience  = 5 * time.Second
	maxSSHDAnswer = 256 << 10
	maxDockerFile = 1 << 20
)

// sshdSettings asks sshd what it runs with; nil without an error is that there is none.
func sshdSettings(ctx context.Context) (*doctor.SSHD, error) {
	path, err := exec.LookPath("sshd")
	if err != nil {
		if path = "/usr/sbin/sshd"; !fileExists(path) {
			return nil, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sshdPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-T")
	cmd.WaitDelay = time.Second
	var out, complaint limited
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w %s", err, strings.TrimSpace(complaint.String()))
	}
	s := doctor.ParseSSHD(out.String())
	return &s, nil
}

// limited keeps the first bytes of what a program says.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	l.Buffer.Write(b[:min(len(b), maxSSHDAnswer-l.Len())])
	return len(b), nil
}

// sysctl reads a value below /proc/sys.
func sysctl(path string) (string, bool) {
	b, err := os.ReadFile(filepath.Join("/proc/sys", path))
	return strings.TrimSpace(string(b)), err == nil
}

// otherFirewalls looks for them below root. Services concern the host's own network namespace, which is that of the first
// process; in another one only chains do.
func otherFirewalls(root string) doctor.Others {
	var o doctor.Others
	o.Chains, o.ChainsErr = doctor.ForeignChains("platform")
	if !sameNetwork("1") {
		return o
	}
	if b, err := os.ReadFile(filepath.Join(root, "etc/ufw/ufw.conf")); err == nil {
		for line := range strings.Lines(string(b)) {
			o.UFW = o.UFW || strings.EqualFold(strings.TrimSpace(line), "ENABLED=yes")
		}
	}
	units, _ := filepath.Glob(filepath.Join(root, "etc/systemd/system/*.wants/nftables.service"))
	o.NFTables = len(units) > 0
	o.Firewalld = runs("firewalld")
	return o
}

// sameNetwork reports whether a process is in our network namespace.
func sameNetwork(pid string) bool {
	a, errA := os.Readlink("/proc/self/ns/net")
	b, errB := os.Readlink(filepath.Join("/proc", pid, "ns/net"))
	return errA == nil && errB == nil && a == b
}

// runs reports whether a process of that name is in our network namespace.
func runs(name string) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if err == nil && strings.TrimSpace(string(comm)) == name && sameNetwork(e.Name()) {
			return true
		}
	}
	return false
}

// dockerConfig is Docker's daemon.json; nil is that there is none, or that it is not a file of sane size.
func dockerConfig(root string) []byte {
	f, err := os.Open(filepath.Join(root, "etc/docker/daemon.json"))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDockerFile))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return append([]byte{}, b...)
}
