package activity

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Filter says which records are wanted; its zero value is all of them. Fields are joined by "and".
type Filter struct {
	Since time.Time // included
	Until time.Time // not included
	Actor string
	// Action is a name, the object in front of it ("port" is port-opened and port-closed), or a pattern with * and ?.
	Action string
	// Object and Source are exact, or patterns with * and ?.
	Object string
	Source string
	// Text has words that must all be in the record, in any field, in any case. Nothing in it is syntax.
	Text     string
	Outcome  Outcome
	AfterSeq int64
	// Limit is how many at most; 0 is no limit.
	Limit int
	// Descending is the newest first.
	Descending bool
}

// where is the condition of f, and its arguments.
func (f Filter) where() (string, []any) {
	var (
		cond = []string{"seq > ?"}
		args = []any{f.AfterSeq}
	)
	add := func(c string, a ...any) {
		cond, args = append(cond, c), append(args, a...)
	}
	if !f.Since.IsZero() {
		add("time >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		add("time < ?", f.Until.UnixNano())
	}
	if f.Actor != "" {
		add("actor = ?", f.Actor)
	}
	if f.Outcome != "" {
		add("outcome = ?", string(f.Outcome))
	}
	switch {
	case f.Action == "":
	case isPattern(f.Action):
		add("action GLOB ?", glob(f.Action))
	default:
		add("(action = ? OR action GLOB ?)", f.Action, glob(f.Action)+"-*")
	}
	for column, v := range map[string]string{"object": f.Object, "source": f.Source} {
		switch {
		case v == "":
		case isPattern(v):
			add(column+" GLOB ?", glob(v))
		default:
			add(column+" = ?", v)
		}
	}
	if words := textQuery(f.Text); words != "" {
		add("seq IN (SELECT rowid FROM records_text WHERE records_text MATCH ?)", words)
	}
	return strings.Join(cond, " AND "), args
}

func isPattern(s string) bool { return strings.ContainsAny(s, "*?") }

// glob leaves only * and ? their meaning.
func glob(s string) string { return strings.ReplaceAll(s, "[", "[[]") }

// maxWords bounds what a search costs.
const maxWords = 32

// textQuery turns a person's words into an FTS5 query in which each is a quoted phrase, so that nothing of it is syntax.
// A NUL would end the query in the middle of a quote.
func textQuery(s string) string {
	words := strings.FieldsFunc(strings.ToValidUTF8(s, " "), func(r rune) bool { return r <= ' ' || r == 0x7f })
	if len(words) > maxWords {
		words = words[:maxWords]
	}
	for i, w := range words {
		words[i] = `"` + strings.ReplaceAll(w, `"`, `""`) + `"`
	}
	return strings.Join(words, " ")
}

// Query lists the records that f describes.
func (l *Log) Query(ctx context.Context, f Filter) ([]Record, error) {
	var out []Record
	err := l.each(ctx, f, func(r *Record) error {
		out = append(out, *r)
		return nil
	})
	return out, err
}

// Export writes the records that f describes, one JSON object a line.
func (l *Log) Export(ctx context.Context, w io.Writer, f Filter) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return l.each(ctx, f, func(r *Record) error {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("export record %d: %w", r.Seq, err)
		}
		return nil
	})
}

// Follow gives the records that f describes, from f.AfterSeq on, and then each one as it is written, until ctx ends, the log
// is closed, or Limit is reached. None is lost, however slow the caller is. Descending is not used. An error is the last thing it gives.
func (l *Log) Follow(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		const page = 500
		left := f.Limit
		f.Descending = false
		for {
			l.mu.Lock()
			wake := l.wake
			l.mu.Unlock()
			seen := l.Head() // everything up to here is in the answer, unless the page is full
			f.Limit = page
			records, err := l.Query(ctx, f)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
				f.AfterSeq = r.Seq
				if left--; left == 0 {
					return
				}
			}
			if len(records) == page {
				continue
			}
			f.AfterSeq = max(f.AfterSeq, seen)
			select {
			case <-wake:
			case <-l.closed:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// each calls fn for the records that f describes, one at a time.
func (l *Log) each(ctx context.Context, f Filter, fn func(*Record) error) error {
	where, args := f.where()
	query := "SELECT " + recordColumns + " FROM records WHERE " + where + " ORDER BY seq"
	if f.Descending {
		query += " DESC"
	}
	if f.Limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	rows, err := l.db.Read.QueryContext(ctx, query, args...)
	if err != nil {
		return l.db.Explain("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Record
		if err := scanRecord(rows, &r); err != nil {
			return l.db.Explain("read", err)
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	return l.db.Explain("read", rows.Err())
}

const recordColumns = "seq, time, actor, source, action, object, revision, outcome, message, before, after, hash"

func scanRecord(rows interface{ Scan(...any) error }, r *Record) error {
	var (
		nano                int64
		before, after, hash []byte
	)
	if err := rows.Scan(&r.Seq, &nano, &r.Actor, &r.Source, &r.Action, &r.Object, &r.Revision, &r.Outcome, &r.Message, &before, &after, &hash); err != nil {
		return err
	}
	r.Time = time.Unix(0, nano).UTC()
	if len(before) > 0 {
		r.Before = before
	}
	if len(after) > 0 {
		r.After = after
	}
	copy(r.Hash[:], hash)
	return nil
}
