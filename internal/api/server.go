// Package api is the HTTP API of platformd on a unix socket: it finds out who calls, checks what is asked, hands it to the
// Host, and tells what came of it.
//
// The model in words. A connection belongs to a process, and the kernel says whose (peer.go). Root and the members of the
// group "platform" may talk; everybody else gets one sentence. Each route is a typed function from a request to an answer,
// both of package wire; the OpenAPI description at /v1/openapi.json is made from the same functions, so it cannot drift.
// What changes the host becomes a Change with an edit of the document, and goes through the one gate Host.Change. Every
// refusal is a problem (RFC 9457) that lists all mistakes.
//
// Requests are bounded in size and time. Streams end when the server does; other requests get a few seconds. The package
// knows nothing of the kernel, keeps no state, and writes nothing.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/platformd/platformd/internal/api/wire"
)

// ServerConfig is what Serve needs beside the host.
type ServerConfig struct {
	Log     *slog.Logger
	Version string
	// Asker says from where a process was started that connects to the socket: an address, or "local".
	Asker func(pid int) string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Bounds of requests.
const (
	maxBody      = 1 << 20
	maxDocument  = 10 << 20
	maxHeader    = 256 << 10
	readTimeout  = 10 * time.Second
	idleTimeout  = 2 * time.Minute
	shutdownTime = 5 * time.Second
	// writeTimeout bounds one piece of a stream: a reader who does not read is let go.
	writeTimeout = 10 * time.Second
)

// server is one Host behind HTTP.
type server struct {
	host Host
	cfg  ServerConfig
	api  huma.API
	// stopping ends when streams must.
	stopping context.Context
}

// Serve answers requests until ctx ends; then it closes l, ends streams at once and gives other requests a few seconds.
func Serve(ctx context.Context, l net.Listener, h Host, cfg ServerConfig) error {
	s, handler := newServer(ctx, h, cfg)
	srv := &http.Server{
		Handler:           handler,
		ConnContext:       s.connContext,
		ReadHeaderTimeout: readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		err := srv.Shutdown(stop)
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
		done <- err
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// schemaName is a type's name in the description: its own, with that of its package before it where the package is a part
// of the proxy, because those call their options alike.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if dir, pkg := path.Split(t.PkgPath()); strings.HasSuffix(dir, "/proxy/") && pkg != "field" {
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	return name
}

// Description is the OpenAPI 3.1 description of the API, as JSON.
func Description(version string) ([]byte, error) {
	s, _ := newServer(context.Background(), nil, ServerConfig{Version: version})
	return s.api.OpenAPI().MarshalJSON()
}

func newServer(ctx context.Context, h Host, cfg ServerConfig) (*server, http.Handler) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := huma.DefaultConfig("platformd", cfg.Version)
	c.Info.Description = "The API of platformd, on a unix socket. Every change can be tried with dry_run; every refusal is a problem (RFC 9457) with a code."
	c.CreateHooks, c.OpenAPIPath, c.DocsPath, c.SchemasPath = nil, "", "", ""
	c.RejectUnknownQueryParameters = true
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Transformers = []huma.Transformer{humaProblem}
	mux := http.NewServeMux()
	s := &server{host: h, cfg: cfg, stopping: ctx, api: humago.New(mux, c)}
	s.routes()
	s.execRoute(mux)
	schemas := s.api.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel") // what huma would answer with, were it not for humaProblem
	delete(schemas, "ErrorDetail")
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		data, err := s.api.OpenAPI().MarshalJSON()
		if err != nil {
			s.writeProblem(w, s.problem(err, ""))
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(data) // the client may be gone
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.writeProblem(w, newProblem(http.StatusNotFound, wire.CodeNotFound, "no route "+r.Method+" "+r.URL.Path+"; /v1/openapi.json describes those there are"))
	})
	return s, s.guarded(mux)
}

// guarded lets only those in who may talk, and hands the connection's deadlines to the routes.
func (s *server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(peerKey{}).(peer)
		if p.refused != nil {
			s.writeProblem(w, newProblem(http.StatusForbidden, wire.CodeForbidden, p.refused.Error()))
			return
		}
		ctx := context.WithValue(r.Context(), connectionKey{}, http.NewResponseController(w))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

type connectionKey struct{}

// connection controls the deadlines of the connection that a request came in by.
func connection(ctx context.Context) *http.ResponseController {
	c, _ := ctx.Value(connectionKey{}).(*http.ResponseController)
	return c
}
