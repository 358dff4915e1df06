package api

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/internal/api/wire"
)

// Exec is a program to run in the container of an app, and where its bytes come from and go to.
type Exec struct {
	Command []string
	TTY     bool
	In      io.Reader
	Out     io.Writer
	Errors  io.Writer
	// Resize gives rows and columns of the terminal, as they change.
	Resize <-chan [2]uint16
}

// Bounds of a program that is run.
const (
	maxExecWords = 1000
	execPath     = "/v1/apps/{name}/exec"
)

// execRoute registers what is not a request with one answer: the connection becomes a stream of frames both ways.
func (s *server) execRoute(mux *http.ServeMux) {
	op := s.operation(http.MethodPost, strings.TrimPrefix(execPath, "/v1"), "exec-app", "Run a program in the container of an app", nil)
	s.api.OpenAPI().AddOperation(&huma.Operation{
		Method: op.Method, Path: op.Path, OperationID: op.OperationID, Summary: op.Summary, Tags: op.Tags,
		Description: "The connection is upgraded to " + wire.ExecProtocol + ": frames of one byte for the kind (0 input, 1 size of the terminal, 2 output, 3 errors, 4 ended, 5 failed), four for the length, and the content.",
		Parameters: []*huma.Param{
			{Name: "name", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}},
			{Name: "arg", In: "query", Required: true, Description: "The program and its arguments, each as one.", Schema: &huma.Schema{Type: "array", Items: &huma.Schema{Type: "string"}}},
			{Name: "tty", In: "query", Schema: &huma.Schema{Type: "boolean"}},
		},
		Responses: map[string]*huma.Response{"101": {Description: "The connection is a stream of frames now."}, "default": op.Responses["default"]},
	})
	mux.HandleFunc("POST "+execPath, s.exec)
}

func (s *server) exec(w http.ResponseWriter, r *http.Request) {
	name, q := r.PathValue("name"), r.URL.Query()
	command := q["arg"]
	fail := func(err error) { s.writeProblem(w, s.problem(err, name)) }
	switch {
	case len(command) == 0 || command[0] == "" || len(command) > maxExecWords || strings.ContainsRune(strings.Join(command, ""), 0):
		fail(fmt.Errorf("%w: command: name a program and its arguments, at most %d words", ErrInvalid, maxExecWords))
		return
	case !strings.EqualFold(r.Header.Get("Upgrade"), wire.ExecProtocol):
		fail(fmt.Errorf("%w: the connection has to be upgraded to %s", ErrInvalid, wire.ExecProtocol))
		return
	}
	if _, err := s.app(r.Context(), name); err != nil {
		fail(noApp(name))
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(err)
		return
	}
	defer conn.Close()
	// The context of the request ends with the handler, and from here on nothing else ends it.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+wire.ExecProtocol+"\r\n\r\n"); err != nil {
		return
	}
	out := &frameWriter{conn: conn}
	in, input := io.Pipe()
	resize := make(chan [2]uint16, 1)
	go func() {
		defer cancel() // the caller is gone
		readFrames(buffered.Reader, input, resize)
	}()
	code, err := s.host.ExecApp(ctx, callerOf(r.Context()), name, Exec{Command: command, TTY: q.Get("tty") == "true", In: in, Out: out.kind(wire.ExecOutput), Errors: out.kind(wire.ExecErrors), Resize: resize})
	_ = in.Close()
	if err != nil {
		_, _ = out.kind(wire.ExecFailed).Write([]byte(err.Error()))
		return
	}
	_, _ = out.kind(wire.ExecEnded).Write(binary.BigEndian.AppendUint32(nil, uint32(code)))
}

// readFrames hands on what the caller sends, until the caller is gone.
func readFrames(r io.Reader, input *io.PipeWriter, resize chan [2]uint16) {
	defer input.Close()
	for {
		kind, content, err := wire.ReadFrame(r)
		if err != nil {
			_ = input.CloseWithError(err)
			return
		}
		switch {
		case kind == wire.ExecInput && len(content) == 0:
			_ = input.Close()
		case kind == wire.ExecInput:
			_, _ = input.Write(content) // it may have ended
		case kind == wire.ExecResize && len(content) == 4:
			size := [2]uint16{binary.BigEndian.Uint16(content), binary.BigEndian.Uint16(content[2:])}
			select {
			case <-resize: // the last one counts
			default:
			}
			resize <- size
		}
	}
}

// frameWriter writes frames of several kinds to one connection.
type frameWriter struct {
	mu   sync.Mutex
	conn net.Conn
}

func (f *frameWriter) kind(k byte) io.Writer { return frameKind{f, k} }

type frameKind struct {
	to   *frameWriter
	kind byte
}

func (k frameKind) Write(p []byte) (int, error) {
	k.to.mu.Lock()
	defer k.to.mu.Unlock()
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+wire.MaxExecFrame)]
		_ = k.to.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := wire.WriteFrame(k.to.conn, k.kind, part); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}
