package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// perRequest is the CPU time of a server for one of what f does n times.
func (p *peerServer) perRequest(f func() (int, error)) (time.Duration, error) {
	before := p.cpu()
	n, err := f()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.name, err)
	}
	if n < 100 {
		return 0, fmt.Errorf("%s: only %d requests", p.name, n)
	}
	return (p.cpu() - before) / time.Duration(n), nil
}

func tool(d time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d+20*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w: %.300s", name, err, out.String())
	}
	return out.String(), err
}

var (
	wrkDone    = regexp.MustCompile(`(\d+) requests in`)
	h2loadDone = regexp.MustCompile(`requests: (\d+) total, .* (\d+) succeeded, (\d+) failed`)
	h2loadGood = regexp.MustCompile(`status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
)

// wrk asks by HTTP/1.1 over 64 connections and gives the number of answers.
func wrk(p *peerServer, path string, d time.Duration) (int, error) {
	out, err := tool(d, "wrk", "-t1", "-c64", "-d"+d.String(), "https://"+p.addr+path)
	if err != nil {
		return 0, err
	}
	m := wrkDone.FindStringSubmatch(out)
	if m == nil || strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		return 0, fmt.Errorf("wrk: %.300s", out)
	}
	return strconv.Atoi(m[1])
}

// h2load asks by HTTP/2, 16 streams on each of 16 connections.
func h2load(p *peerServer, path string, d time.Duration) (int, error) {
	out, err := tool(d, "h2load", "-t1", "-c16", "-m16", "-D", strconv.Itoa(int(d.Seconds())), "https://"+p.addr+path)
	if err != nil {
		return 0, err
	}
	return h2loadCount(out)
}

func h2loadCount(out string) (int, error) {
	m, s := h2loadDone.FindStringSubmatch(out), h2loadGood.FindStringSubmatch(out)
	if m == nil || s == nil || m[3] != "0" || s[3] != "0" || s[4] != "0" {
		return 0, fmt.Errorf("h2load: %.600s", out)
	}
	return strconv.Atoi(m[2])
}

// paced asks at 5,000 requests a second and gives the 99th percentile of what they took.
func paced(p *peerServer, dir string, h2 bool, d time.Duration) (time.Duration, error) {
	log := filepath.Join(dir, "times")
	os.Remove(log)
	args := []string{"-t1", "-D", strconv.Itoa(int(d.Seconds())), "--log-file=" + log}
	if h2 {
		args = append(args, "-c20", "-m16", "--rps=250")
	} else {
		args = append(args, "-c50", "--h1", "--rps=100")
	}
	out, err := tool(d, "h2load", append(args, "https://"+p.addr+"/1k")...)
	if err != nil {
		return 0, err
	}
	n, err := h2loadCount(out)
	if err != nil {
		return 0, err
	}
	if want := 5000 * int(d.Seconds()); n < want*9/10 {
		return 0, fmt.Errorf("%s took %d requests of %d", p.name, n, want)
	}
	f, err := os.Open(log)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []time.Duration
	for in := bufio.NewScanner(f); in.Scan(); {
		if c := strings.Fields(in.Text()); len(c) == 3 {
			us, err := strconv.Atoi(c[2])
			if err != nil {
				return 0, err
			}
			took = append(took, time.Duration(us)*time.Microsecond)
		}
	}
	return quantile(took, 0.99), nil
}

// handshakes makes new TLS connections for a while, and gives their number. None is resumed.
func handshakes(p *peerServer, groups []tls.CurveID, d time.Duration) (int, error) {
	conf := clientTLS(groups, "http/1.1")
	var n atomic.Int64
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range 8 {
		all.Go(func() {
			for time.Now().Before(end) && failure.Load() == nil {
				c, err := net.Dial("tcp", p.addr)
				if err == nil {
					_ = c.(*net.TCPConn).SetLinger(0) // ports are few
					t := tls.Client(c, conf)
					if err = t.Handshake(); err == nil {
						n.Add(1)
					}
					err = errors.Join(err, c.Close())
				}
				if err != nil {
					failure.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if e := failure.Load(); e != nil {
		return 0, fmt.Errorf("handshake with %s: %w", p.name, *e)
	}
	return int(n.Load()), nil
}

// idle holds connections that have had one answer each, and gives what one costs the server in KiB.
func idle(p *peerServer, h2 bool, n int) (float64, error) {
	before := p.memory()
	proto := "http/1.1"
	if h2 {
		proto = "h2"
	}
	conf := clientTLS([]tls.CurveID{tls.X25519}, proto)
	conns := make([]net.Conn, n)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	var all sync.WaitGroup
	var failure atomic.Pointer[error]
	for part := range 8 {
		all.Go(func() {
			for i := part; i < n && failure.Load() == nil; i += 8 {
				c, err := hold(p.addr, conf)
				if err != nil {
					failure.Store(&err)
					return
				}
				conns[i] = c
			}
		})
	}
	all.Wait()
	if e := failure.Load(); e != nil {
		return 0, fmt.Errorf("hold connections to %s: %w", p.name, *e)
	}
	time.Sleep(3 * time.Second) // what is only garbage of the beginning is given back meanwhile
	return float64(p.memory()-before) / float64(n), nil
}

// h2Get is the preface, empty settings, and GET /1k with indexed and literal fields (RFC 7541).
var h2Get = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x13\x01\x05\x00\x00\x00\x01" + "\x82\x87\x04\x03/1k\x41\x0abench.test")

func hold(addr string, conf *tls.Config) (net.Conn, error) {
	c, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	ask := []byte("GET /1k HTTP/1.1\r\nHost: bench.test\r\n\r\n")
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		ask = h2Get
	}
	if _, err = c.Write(ask); err == nil {
		// The body ends the answer; it is all zeros, and nothing before it is.
		b, got := make([]byte, 4096), 0
		for got < 1024 && err == nil {
			var n int
			n, err = c.Read(b)
			got += n
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}
