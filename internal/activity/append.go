package activity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// maxBatch bounds one transaction.
const maxBatch = 1000

// ErrClosed is the error of an Append to a log that was closed.
var ErrClosed = errors.New("the activity log is closed")

// waiting is an Append that has not been answered.
type waiting struct {
	record Record
	done   chan struct{} // closed after err is set
	err    error
}

// Append writes r and returns it with its number, time and hash. It is on disk on return. Callers at the same time share
// one transaction. An error means that it is not there.
func (l *Log) Append(ctx context.Context, r Record) (Record, error) {
	if err := r.prepare(l.clock()); err != nil {
		return Record{}, err
	}
	w := &waiting{record: r, done: make(chan struct{})}
	l.mu.Lock()
	l.queue = append(l.queue, w)
	l.mu.Unlock()
	select {
	case <-w.done: // another caller's transaction took it along
	case <-l.turn:
		l.writeQueue(context.WithoutCancel(ctx), w)
		l.turn <- struct{}{}
	case <-l.closed:
		return l.giveUp(w, ErrClosed)
	case <-ctx.Done():
		return l.giveUp(w, context.Cause(ctx))
	}
	return w.record, w.err
}

// giveUp ends the wait for a turn: with cause, or, where another caller has taken w along, with what becomes of it.
func (l *Log) giveUp(w *waiting, cause error) (Record, error) {
	if l.withdraw(w) {
		return Record{}, fmt.Errorf("append activity record: %w", cause)
	}
	<-w.done
	return w.record, w.err
}

// withdraw takes w out of the queue and reports whether it was still there.
func (l *Log) withdraw(w *waiting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, q := range l.queue {
		if q == w {
			l.queue = append(l.queue[:i:i], l.queue[i+1:]...)
			return true
		}
	}
	return false
}

// writeQueue writes what waits, until own has been answered.
func (l *Log) writeQueue(ctx context.Context, own *waiting) {
	for {
		select {
		case <-own.done:
			return
		default:
		}
		l.mu.Lock()
		n := min(len(l.queue), maxBatch)
		batch := l.queue[:n:n]
		l.queue = l.queue[n:]
		l.mu.Unlock()
		records := make([]*Record, n)
		for i, w := range batch {
			records[i] = &w.record
		}
		err := l.commit(ctx, records, nil)
		for _, w := range batch {
			if w.err = err; err != nil {
				w.record = Record{}
			}
			close(w.done)
		}
	}
}

// commit writes records behind the head, with the new head, in one transaction. The caller has the turn. before, where it
// is not nil, runs in the transaction first and may move the anchor.
func (l *Log) commit(ctx context.Context, records []*Record, before func(*sql.Tx, *head) error) error {
	next := *l.head.Load()
	tx, err := l.db.Write.BeginTx(ctx, nil)
	if err != nil {
		return l.db.Explain("append to", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after a commit
	if before != nil {
		if err := before(tx, &next); err != nil {
			return l.db.Explain("append to", err)
		}
	}
	if err := l.insert(ctx, tx, records, &next); err != nil {
		return l.db.Explain("append to", err)
	}
	if err := tx.Commit(); err != nil {
		// Only the disk knows whether it took place; both answers must be true.
		there, readErr := readHead(ctx, l.db.Write)
		if readErr != nil || there == nil || there.hash != next.hash {
			return l.db.Explain("append to", err)
		}
	}
	l.head.Store(&next)
	l.mu.Lock()
	close(l.wake)
	l.wake = make(chan struct{})
	l.mu.Unlock()
	if next.seq-l.marked >= checkpointEvery {
		if err := l.checkpoint(kindEvery); err != nil {
			// The records are safe; the next commit tries again.
			l.logger.Error("activity checkpoint not written", "record", next.seq, "cause", err)
		}
	}
	return nil
}

func (l *Log) insert(ctx context.Context, tx *sql.Tx, records []*Record, next *head) error {
	row, err := tx.PrepareContext(ctx, "INSERT INTO records (seq, time, actor, source, action, object, revision, outcome, message, before, after, hash) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)")
	if err != nil {
		return err
	}
	defer row.Close()
	text, err := tx.PrepareContext(ctx, "INSERT INTO records_text (rowid, text) VALUES (?,?)")
	if err != nil {
		return err
	}
	defer text.Close()
	for _, r := range records {
		r.Seq = next.seq + 1
		r.Hash = link(next.hash, r)
		_, err := row.ExecContext(ctx, r.Seq, r.Time.UnixNano(), r.Actor, r.Source, string(r.Action), r.Object, r.Revision, string(r.Outcome), r.Message,
			blob(r.Before), blob(r.After), r.Hash[:])
		if err != nil {
			return err
		}
		words := strings.Join([]string{r.Actor, r.Source, string(r.Action), r.Object, r.Message, string(r.Before), string(r.After)}, " ")
		if _, err := text.ExecContext(ctx, r.Seq, words); err != nil {
			return err
		}
		next.seq, next.hash = r.Seq, r.Hash
	}
	next.checkpoints, next.keyID = l.checkpoints.lines, l.signer.id
	next.signature = l.signer.sign(next.message())
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO head (id, chain, seq, hash, anchor_seq, anchor_hash, checkpoints, key, signature) VALUES (1,?,?,?,?,?,?,?,?)",
		next.chain, next.seq, next.hash[:], next.anchorSeq, next.anchorHash[:], next.checkpoints, next.keyID, next.signature)
	return err
}

// blob is b, never nil, which would be NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
