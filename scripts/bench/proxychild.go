package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/worker"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/ratelimit"
)

// nobody is the user that the worker runs as.
const nobody = 65534

// edgeChild is to the proxy's worker what the daemon is: it opens the socket, has the certificate and writes the access log.
func edgeChild(args []string) error {
	dir, exe := args[0], args[1]
	l, err := net.Listen("tcp", oursAddr)
	if err != nil {
		return err
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	if err := errors.Join(l.Close(), unix.SetNonblock(int(f.Fd()), true)); err != nil {
		return err
	}
	cert, err1 := os.ReadFile(filepath.Join(dir, "cert.pem"))
	key, err2 := os.ReadFile(filepath.Join(dir, "key.pem"))
	log, err3 := os.Create(filepath.Join(dir, "ours.access"))
	work := filepath.Join(dir, "work")
	if err := errors.Join(err1, err2, err3, os.MkdirAll(work, 0o700), os.Chown(work, nobody, nobody)); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p, err := worker.StartWeb(ctx, worker.WebConfig{UID: nobody, GID: nobody, RunDir: filepath.Join(dir, "run"), WorkDir: work, Version: "bench", Args: []string{"platformd", "worker"}, Exe: exe,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Certificate: func(context.Context, string) (worker.WebPair, error) {
			return worker.WebPair{Chain: cert, Key: key}, nil
		},
		Logs: func(b []byte) { _, _ = log.Write(b) },
	}, []worker.WebSocket{{Kind: "https", Addr: oursAddr, File: f}})
	if err != nil {
		return err
	}
	c := proxy.Config{Routes: []proxy.Route{{Backend: "http://" + backAddr}}}
	// All load comes from one address here; the limit is looked at for each request and never reached.
	c.Limits.Requests = &ratelimit.Limit{Rate: ratelimit.MaxEvents, Per: time.Second}
	if err := p.Configure(ctx, c); err != nil {
		return err
	}
	<-ctx.Done()
	_ = p.Drain(context.WithoutCancel(ctx), worker.WebDrain{Grace: 100 * time.Millisecond})
	<-p.Gone()
	if s, err := log.Stat(); err != nil || s.Size() == 0 {
		return fmt.Errorf("the access log is empty")
	}
	return nil
}

// reverseProxyChild is what everybody writes first: the standard library's proxy as it comes, with an access log.
func reverseProxyChild(args []string) error {
	dir := args[0]
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "reverseproxy.access"))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(file, nil))
	to := &url.URL{Scheme: "http", Host: backAddr}
	rp := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded() }}
	s := &http.Server{Addr: plainAddr, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		for _, h := range securityLines {
			w.Header().Set(h[0], h[1])
		}
		rp.ServeHTTP(w, r)
		log.Info("request", "client", r.RemoteAddr, "method", r.Method, "host", r.Host, "uri", r.RequestURI, "agent", r.UserAgent(), "took", time.Since(start))
	})}
	return s.ListenAndServeTLS("", "")
}
