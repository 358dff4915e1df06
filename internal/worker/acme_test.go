package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/certs/order"
)

// misbehaveACME is what a child of a job with a CA might do that was taken over.
func misbehaveACME(mode string) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, order.MaxLine)
	in.Scan()
	var job order.Job
	if json.Unmarshal(in.Bytes(), &job) != nil {
		os.Exit(3)
	}
	switch mode {
	case "silent":
	case "dies":
		panic("taken over\x1b[2J")
	case "no-json":
		fmt.Println("hello")
	case "unknown-field":
		fmt.Println(`{"op":"done","result":{"run":"/bin/sh"}}`)
	case "no-result":
		fmt.Println(`{"op":"done"}`)
	case "bad-result":
		fmt.Println(`{"op":"done","result":{"problem":"../../x"}}`)
	case "long-line":
		fmt.Println(strings.Repeat("x", 2*order.MaxLine))
	case "asks-for-ever":
		for {
			fmt.Println(`{"op":"get","key":"x"}`)
			if !in.Scan() {
				os.Exit(0)
			}
		}
	case "unread": // never reads, while the daemon has much to say
		for range order.MaxAsks + 1 {
			fmt.Println(`{"op":"get","key":"big"}`)
		}
	case "hangs":
		c, err := net.Dial("tcp", job.Directory)
		if err != nil {
			panic(err)
		}
		c.Read(make([]byte, 1))
	case "state":
		if _, err := confine(true); err != nil {
			panic(err)
		}
		if _, err := confineFiles(true, programs(job)...); err != nil {
			panic(err)
		}
		line, _ := json.Marshal(order.Ask{Op: "done", Result: &order.Result{Error: state()}})
		fmt.Println(string(line))
	}
	os.Exit(0)
}

// mapCache is a cache in memory.
type mapCache struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (c *mapCache) Get(_ context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.m[key]; ok {
		return v, nil
	}
	return nil, order.ErrMiss
}

func (c *mapCache) Put(_ context.Context, key string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m[key] = value
	return nil
}

func (c *mapCache) Delete(context.Context, string) error { return errors.New("no") }

func TestACMEChildIsNotBelieved(t *testing.T) {
	for mode, want := range map[string]string{
		"silent": "ended before it was done", "dies": "panic: taken over", "no-json": "what no worker says", "unknown-field": "what no worker says",
		"no-result": "without a result", "bad-result": "no word", "long-line": "says too much", "asks-for-ever": "asks more than 200 times",
		"unread": "ended before it was done",
	} {
		t.Run(mode, func(t *testing.T) {
			cache := &mapCache{m: map[string][]byte{"big": make([]byte, 60<<10)}}
			_, err := acmePool(t, mode).ACME(t.Context(), order.Job{Kind: order.Issue, Names: []string{"a.test"}, Timeout: time.Minute}, cache)
			if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// acmePool starts children that run misbehaveACME.
func acmePool(t *testing.T, mode string) *Pool {
	t.Helper()
	p := pool(t)
	p.cfg.Args = []string{"platformd", "misbehave-acme", mode, "outbound"}
	return p
}

func TestACMEChildIsConfined(t *testing.T) {
	res, err := acmePool(t, "state").ACME(t.Context(), order.Job{Kind: order.Issue, Timeout: time.Minute}, &mapCache{})
	want := fmt.Sprintf("uid=%d gid=%d groups=0 env=2 caps=0 nnp=1 pid=1 shadow=true passwd-denied=true hosts-denied=false loopback-up=true tmp-denied=true", nobody, nobody)
	if err != nil || res.Error != want {
		t.Errorf("got  %v %v\nwant %s", res.Error, err, want)
	}
	// What a program of the operator's needs is all that is added.
	res, err = acmePool(t, "state").ACME(t.Context(), order.Job{Kind: order.Issue, Timeout: time.Minute, DNS: &order.Provider{Type: "exec", Settings: map[string]string{"program": "/opt/dns/update"}}}, &mapCache{})
	if err != nil || res.Error != want {
		t.Errorf("with a program: got %v %v\nwant %s", res.Error, err, want)
	}
}

func TestACMEEndsWithItsContext(t *testing.T) {
	url, next := waiting(t)
	at := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	ctx, cancel := context.WithCancel(t.Context())
	conn := make(chan net.Conn)
	go func() {
		c := next()
		cancel()
		conn <- c
	}()
	_, err := acmePool(t, "hangs").ACME(ctx, order.Job{Kind: order.Issue, Directory: at, Timeout: time.Minute}, &mapCache{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	gone(t, <-conn)
}
