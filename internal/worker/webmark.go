package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// webMark says which process listens on a control socket. It stands in a file beside the socket, where only root can write, and
// tells that process from a later one with the same number: a worker's own word on that would be worth nothing.
type webMark struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // clock ticks since boot (proc_pid_stat(5), field 22)
	Boot  string `json:"boot"`
}

func markPath(socket string) string { return strings.TrimSuffix(socket, ".sock") + ".pid" }

// markOf reads what the kernel says of a process.
func markOf(pid int) (webMark, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return webMark{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return webMark{}, err
	}
	// Behind the name, which may hold anything, the fields begin with the third.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return webMark{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return webMark{}, fmt.Errorf("process %d has ended", pid)
	}
	return webMark{PID: pid, Start: fields[19], Boot: strings.TrimSpace(string(boot))}, nil
}

func writeMark(socket string, pid int) error {
	m, err := markOf(pid)
	if err != nil {
		return err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(markPath(socket), b, 0o600)
}

// errNoMark is for a worker that was started by a version that left none.
var errNoMark = errors.New("nothing says which process it is")

// killMarked kills the process of a control socket, if it is still the one that was started there, and removes the socket. It
// reports whether there was anything to kill.
func killMarked(socket string) (bool, error) {
	b, err := os.ReadFile(markPath(socket))
	if errors.Is(err, fs.ErrNotExist) {
		return false, errNoMark
	}
	var m webMark
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", filepath.Base(markPath(socket)), err)
	}
	defer removeSocket(socket)
	fd, err := unix.PidfdOpen(m.PID, 0)
	if err != nil {
		return false, nil // there is no such process
	}
	defer unix.Close(fd)
	// The descriptor is of one process for good; now it can be told which.
	if now, err := markOf(m.PID); err != nil || now != m {
		return false, nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return false, fmt.Errorf("kill process %d: %w", m.PID, err)
	}
	// Its sockets are free when it is gone, which takes a moment.
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(helloWithin.Milliseconds()))
	return true, nil
}

// removeSocket removes a control socket and its mark.
func removeSocket(socket string) {
	os.Remove(socket)
	os.Remove(markPath(socket))
}
