package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// cost is what a process used.
type cost struct {
	cpu, wall time.Duration
	peak      int // KiB of memory, at its peak
	out       string
}

// measure runs a program in a namespace and says what it used. Its peak memory is looked at while it runs, because what
// the kernel says afterwards includes the memory of the process that started it.
func (n *namespace) measure(name string, args ...string) (cost, error) {
	cmd := exec.Command(name, args...)
	return n.measureCmd(cmd)
}

func (n *namespace) measureCmd(cmd *exec.Cmd) (cost, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	start := time.Now()
	if err := n.start(cmd); err != nil {
		return cost{}, err
	}
	stop, peak := make(chan struct{}), make(chan int)
	var hungry atomic.Bool
	go func() {
		most := 0
		for {
			most = max(most, peakMemory(cmd.Process.Pid))
			if scarce() {
				hungry.Store(true)
				_ = cmd.Process.Kill()
			}
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(3 * time.Millisecond):
			}
		}
	}()
	err := cmd.Wait()
	if hungry.Load() {
		err = errors.New("was stopped because the machine's memory ran out")
	}
	c := cost{wall: time.Since(start), out: out.String()}
	close(stop)
	c.peak = <-peak
	if cmd.ProcessState != nil {
		c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		text := strings.TrimSpace(errOut.String())
		err = fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, text[max(0, len(text)-300):])
	}
	return c, err
}

// scarce reports whether most of the machine's memory is in use: a tool that makes the kernel take more must not bring the
// rest of the machine down. A transaction of nft with a million elements has been seen to take 23 GB.
func scarce() bool {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return false
	}
	return 3*field(string(data), "MemAvailable:") < field(string(data), "MemTotal:")
}

// self is this program in another role.
func (n *namespace) self(args ...string) (cost, error) {
	return n.measure("/proc/self/exe", args...)
}

// peakMemory is the peak of a process's resident memory in KiB, 0 where it is gone.
func peakMemory(pid int) int { return statusField(pid, "VmHWM:") }

func residentMemory(pid int) int { return statusField(pid, "VmRSS:") }

func statusField(pid int, key string) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return field(string(data), key)
}

// field is the number behind a key, 0 where there is none.
func field(text, key string) int {
	_, rest, ok := strings.Cut(text, key)
	if len(rest) > 64 {
		rest = rest[:64]
	}
	f := strings.Fields(rest)
	if !ok || len(f) == 0 {
		return 0
	}
	v, _ := strconv.Atoi(f[0])
	return v
}

// forgetPeak makes the peak of a process its present memory (proc(5), clear_refs).
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// cpuOf is the CPU time of a running process, and of those it has waited for.
func cpuOf(pid int) (own, waited time.Duration, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var v [4]int64
	for i := range v {
		v[i], _ = strconv.ParseInt(f[11+i], 10, 64)
	}
	const tick = time.Second / 100 // USER_HZ
	return time.Duration(v[0]+v[1]) * tick, time.Duration(v[2]+v[3]) * tick, nil
}

// childPeaks watches the children of a process until stop is closed, and gives the peak of the largest.
func childPeaks(pid int, stop <-chan struct{}) <-chan int {
	out := make(chan int, 1)
	go func() {
		most := 0
		for {
			for _, c := range childrenOf(pid) {
				most = max(most, peakMemory(c))
			}
			select {
			case <-stop:
				out <- most
				return
			case <-time.After(3 * time.Millisecond):
			}
		}
	}()
	return out
}

func childrenOf(pid int) []int {
	var out []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(data)) {
			if c, err := strconv.Atoi(f); err == nil {
				out = append(out, c)
			}
		}
	}
	return out
}

// threadCPU is the CPU time of the calling thread; what the kernel does in its context is part of it.
func threadCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// end asks a program to end, and makes it when it takes longer than patience.
func end(cmd *exec.Cmd, patience time.Duration) {
	_ = cmd.Process.Signal(unix.SIGTERM)
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-done
	}
}
