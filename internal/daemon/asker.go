package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/platformd/platformd/internal/api"
)

// Asker is where the person sits who makes a change.
type Asker struct {
	// Address is where they are logged in from; invalid is the machine itself.
	Address netip.Addr
	// Port is the port of this host that their SSH connection came in by, 0 where that is not known.
	Port uint16
}

// String is the address, or "local".
func (a Asker) String() string {
	if !a.Address.IsValid() {
		return "local"
	}
	return a.Address.String()
}

// asker finds out where a caller sits. The API has found the address already; the port is what it does not carry.
func (d *Daemon) asker(c api.Caller) Asker {
	a := askerOf("/proc", c.PID)
	if from, err := netip.ParseAddr(c.Source); err == nil && from != a.Address {
		return Asker{Address: from}
	}
	return a
}

// maxAncestors bounds the walk up the process tree.
const maxAncestors = 64

// askerOf finds out from where the process was started. sudo and su remove SSH_CONNECTION from the environment, but the
// login shell above them still has it; a login session that systemd-logind knows says it too. Whoever can talk to the API
// may lie about their own environment and so lose only their own protection.
func askerOf(proc string, pid int) Asker {
	for range maxAncestors {
		if pid <= 1 {
			break
		}
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if a, ok := fromEnvironment(dir); ok {
			return a
		}
		if a, ok := fromSession(dir); ok {
			return a
		}
		parent, err := parentOf(dir)
		if err != nil {
			break
		}
		pid = parent
	}
	return Asker{}
}

// fromEnvironment reads SSH_CONNECTION: client address, client port, server address, server port (ssh(1)).
func fromEnvironment(dir string) (Asker, bool) {
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return Asker{}, false
	}
	for _, v := range strings.Split(string(env), "\x00") {
		value, ok := strings.CutPrefix(v, "SSH_CONNECTION=")
		if !ok {
			continue
		}
		f := strings.Fields(value)
		if len(f) != 4 {
			return Asker{}, false
		}
		a, err := netip.ParseAddr(f[0])
		port, portErr := strconv.ParseUint(f[3], 10, 16)
		if err != nil || portErr != nil {
			return Asker{}, false
		}
		return Asker{a.Unmap().WithZone(""), uint16(port)}, true
	}
	return Asker{}, false
}

// sessionsDir is where systemd-logind writes what it knows of a session.
const sessionsDir = "/run/systemd/sessions"

// fromSession finds the login session that the process's control group belongs to.
func fromSession(dir string) (Asker, bool) {
	cgroups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return Asker{}, false
	}
	_, rest, ok := strings.Cut(string(cgroups), "/session-")
	id, _, scoped := strings.Cut(rest, ".scope")
	if !ok || !scoped || strings.ContainsAny(id, "/\n") {
		return Asker{}, false
	}
	data, err := os.ReadFile(filepath.Join(sessionsDir, id))
	if err != nil {
		return Asker{}, false
	}
	for _, line := range strings.Split(string(data), "\n") {
		if host, ok := strings.CutPrefix(line, "REMOTE_HOST="); ok {
			if a, err := netip.ParseAddr(host); err == nil {
				return Asker{Address: a.Unmap().WithZone("")}, true
			}
		}
	}
	return Asker{}, false
}

// parentOf reads the parent's number from stat: the second field after the command name, which is in parentheses and may
// hold any character (proc(5)).
func parentOf(dir string) (int, error) {
	data, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, err
	}
	i := strings.LastIndexByte(string(data), ')')
	f := strings.Fields(string(data[i+1:]))
	if i < 0 || len(f) < 2 {
		return 0, fmt.Errorf("%s/stat: has no parent", dir)
	}
	return strconv.Atoi(f[1])
}
