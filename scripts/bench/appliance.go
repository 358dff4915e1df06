package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// appliance is a running platformd on the host of a lane.
type appliance struct {
	b      *bench
	lane   *lane
	cmd    *exec.Cmd
	socket string
	feed   string // the file that the feed "big" reads
	log    *os.File
}

const policyDocument = `{"version": 1, "firewall": {"ports": [
  {"name": "ssh", "protocol": "tcp", "ports": ["22"], "limit": "ssh"},
  {"name": "web", "protocol": "tcp", "ports": ["80", "443"], "limit": "http"},
  {"name": "probe", "protocol": "udp", "ports": ["9000"]}]}}`

// startAppliance starts the real daemon with a driver and waits until its policy is in force.
func (b *bench) startAppliance(driver string) (*appliance, error) {
	dir, err := os.MkdirTemp(b.dir, driver+"-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	a := &appliance{b: b, socket: filepath.Join(dir, "api.sock"), feed: filepath.Join(dir, "big.netset")}
	if a.lane, err = newLane(); err != nil {
		return nil, err
	}
	config, authLog := filepath.Join(dir, "config.json"), filepath.Join(dir, "auth.log")
	if err := errors.Join(os.WriteFile(config, []byte(policyDocument), 0o644), os.WriteFile(authLog, nil, 0o644)); err != nil {
		return nil, err
	}
	if a.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	a.cmd = exec.Command(b.file("bin/platformd"), "--data-dir", filepath.Join(dir, "data"), "--socket", a.socket, "--driver", driver, "--config", config, "--auth-log", authLog)
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	if err := a.lane.host.start(a.cmd); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := a.ctl("status", "--wait", "10s")
		if err == nil {
			return a, nil
		}
		if time.Now().After(deadline) {
			a.stop()
			return nil, fmt.Errorf("platformd is not ready: %w: %s", err, a.tail())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (a *appliance) tail() string {
	data, _ := os.ReadFile(a.log.Name())
	return string(data[max(0, len(data)-500):])
}

func (a *appliance) stop() {
	end(a.cmd, 10*time.Second)
	a.log.Close()
	a.lane.close()
}

func (a *appliance) command(args ...string) *exec.Cmd {
	cmd := exec.Command(a.b.file("bin/platformctl"), args...)
	cmd.Env = append(os.Environ(), "PLATFORM_SOCKET="+a.socket)
	return cmd
}

// ctl runs platformctl.
func (a *appliance) ctl(args ...string) (string, error) {
	cmd := a.command(args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("platformctl %s: %w: %s", strings.Join(args[:min(2, len(args))], " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// publish makes a list the content of the feed's source.
func (a *appliance) publish(list string) error {
	in, err := os.Open(a.b.file(list + ".netset"))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(a.feed + ".new")
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return os.Rename(a.feed+".new", a.feed)
}

// addFeed adds the feed and waits until the daemon has nothing more to do for it.
func (a *appliance) addFeed(list string) error {
	if err := a.publish(list); err != nil {
		return err
	}
	if _, err := a.ctl("feeds", "add", "big", a.feed); err != nil {
		return err
	}
	return a.settled()
}

// settled waits until the feed has all its ranges and the daemon is idle.
func (a *appliance) settled() error {
	deadline := time.Now().Add(time.Minute)
	calm, last := 0, time.Duration(-1)
	for time.Now().Before(deadline) {
		own, waited, err := cpuOf(a.cmd.Process.Pid)
		if err != nil {
			return err
		}
		calm++
		if own+waited-last > 10*time.Millisecond {
			calm, last = 0, own+waited
		}
		if calm >= 8 {
			n, err := a.feedRanges()
			if err != nil {
				return err
			}
			if n == total {
				return nil
			}
			calm, last = 0, time.Duration(-1)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the feed is not loaded after a minute: %s", a.tail())
}

func (a *appliance) feedRanges() (int, error) {
	out, err := a.ctl("feeds", "list", "--json")
	if err != nil {
		return 0, err
	}
	var feeds []struct {
		Ranges int `json:"ranges"`
	}
	if err := json.Unmarshal([]byte(out), &feeds); err != nil {
		return 0, fmt.Errorf("feeds list: %w: %s", err, out[:min(200, len(out))])
	}
	if len(feeds) == 0 {
		return 0, nil
	}
	return feeds[0].Ranges, nil
}

// spend measures what f makes the daemon and its workers use.
type spent struct {
	own, waited, wall time.Duration
	peak, worker      int
}

func (s spent) cpu() time.Duration { return s.own + s.waited }

func (a *appliance) spend(f func() error) (spent, error) {
	pid := a.cmd.Process.Pid
	if err := forgetPeak(pid); err != nil {
		return spent{}, err
	}
	stop := make(chan struct{})
	peaks := childPeaks(pid, stop)
	own, waited, err := cpuOf(pid)
	if err != nil {
		close(stop)
		return spent{}, err
	}
	start := time.Now()
	err = f()
	wall := time.Since(start)
	time.Sleep(300 * time.Millisecond) // what the answer did not wait for
	own2, waited2, cpuErr := cpuOf(pid)
	close(stop)
	return spent{own2 - own, waited2 - waited, wall, peakMemory(pid), <-peaks}, errors.Join(err, cpuErr)
}

func (a *appliance) update(list string) (spent, error) {
	if list != "" {
		if err := a.publish(list); err != nil {
			return spent{}, err
		}
	}
	return a.spend(func() error { _, err := a.ctl("feeds", "update", "big"); return err })
}
