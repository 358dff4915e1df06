package activity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Accept puts on record that somebody has looked at the problems Verify finds, and keeps them from being told again. The
// list is signed in the checkpoint file, so that nobody without the key can accept what he did himself; a problem that
// comes later, or a record that is changed once more, is told as before. It returns the report as it is then.
func (l *Log) Accept(ctx context.Context, actor, source string) (Report, error) {
	rep, err := l.Verify(ctx)
	if err != nil || rep.OK {
		return rep, err
	}
	ids, texts := make([]string, 0, len(rep.Problems)), make([]string, 0, len(rep.Problems))
	for _, p := range rep.Problems {
		ids, texts = append(ids, p.ID), append(texts, p.Text)
	}
	r := Record{Actor: actor, Source: source, Action: ActivityAccepted, Message: strings.Join(texts, "; ")}
	if _, err := l.Append(ctx, r); err != nil {
		return rep, err
	}
	select {
	case <-l.turn:
	case <-l.closed:
		return rep, fmt.Errorf("accept: %w", ErrClosed)
	}
	err = l.checkpoint(kindAccept, ids...)
	l.turn <- struct{}{}
	if err != nil {
		return rep, err
	}
	return l.Verify(ctx)
}

// settle names the problems and sets those aside that were accepted in lines, whose signatures have been checked.
func (r *Report) settle(lines []checkpoint) {
	accepted := map[string]bool{}
	for _, cp := range lines {
		for _, id := range cp.Accepted {
			accepted[id] = true
		}
	}
	var open []Problem
	for _, p := range r.Problems {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d\x00%s\x00%x", p.Kind, p.Seq, p.To, p.Text, p.content))
		p.ID = hex.EncodeToString(sum[:12])
		if accepted[p.ID] {
			r.Accepted = append(r.Accepted, p)
		} else {
			open = append(open, p)
		}
	}
	r.Problems = open
	r.OK = len(r.Problems) == 0 && r.More == 0
}
