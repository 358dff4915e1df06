package dns

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/libdns/libdns"
)

// programTime bounds one call of an operator's program.
const programTime = time.Minute

// program is a provider that an operator wrote. It is called as
//
//	PROGRAM append|delete ZONE NAME TYPE VALUE
//
// with names absolute and without the last dot, and the secret on standard input. Any other end than 0 is a failure, and
// the last line that it wrote to its standard error says why. It runs without privileges, as everything here does.
type program struct {
	path   string
	secret []byte
}

// AppendRecords implements libdns.RecordAppender.
func (p *program) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return recs, p.call(ctx, "append", zone, recs)
}

// DeleteRecords implements libdns.RecordDeleter.
func (p *program) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return recs, p.call(ctx, "delete", zone, recs)
}

func (p *program) call(ctx context.Context, action, zone string, recs []libdns.Record) error {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	for _, r := range recs {
		rr := r.RR()
		cmd := exec.CommandContext(ctx, p.path, action, strings.TrimSuffix(zone, "."), strings.TrimSuffix(libdns.AbsoluteName(rr.Name, zone), "."), rr.Type, rr.Data)
		cmd.Stdin = bytes.NewReader(p.secret)
		cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
		cmd.WaitDelay = time.Second
		said := &tail{}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Run(); err != nil {
			if text := said.last(); text != "" {
				err = fmt.Errorf("%w: %s", err, text)
			}
			return fmt.Errorf("run %s %s: %w", p.path, action, err)
		}
	}
	return nil
}

// tail keeps the end of what a program says.
type tail struct{ b []byte }

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	const most = 2048
	t.b = append(t.b, b...)
	if len(t.b) > most {
		t.b = t.b[len(t.b)-most:]
	}
	return len(b), nil
}

func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return lines[len(lines)-1]
}
