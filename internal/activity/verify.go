package activity

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Report is what Verify found.
type Report struct {
	// OK means that nothing is wrong, except what was accepted.
	OK bool `json:"ok"`
	// First and Last are the numbers of the oldest and the newest record, Records how many there are.
	First       int64     `json:"first"`
	Last        int64     `json:"last"`
	Records     int64     `json:"records"`
	Checkpoints int       `json:"checkpoints"`
	Problems    []Problem `json:"problems,omitempty"`
	// More counts the problems that are not in the list.
	More int `json:"more,omitempty"`
	// Accepted are the problems that somebody has looked at and accepted; see Log.Accept.
	Accepted []Problem `json:"accepted,omitempty"`
}

// Problem is one thing that is wrong.
type Problem struct {
	Kind ProblemKind `json:"kind"`
	// Seq is the record it is about; 0 where it is about the whole log. To is the last, where there are several.
	Seq  int64  `json:"seq,omitempty"`
	To   int64  `json:"to,omitempty"`
	Text string `json:"text"`
	// ID is equal where it is the same problem and nothing has been changed since.
	ID string `json:"id"`

	content Hash // of the records that are not what they were
}

// ProblemKind is what is wrong, for programs.
type ProblemKind string

// The kinds of problems.
const (
	ProblemChanged    ProblemKind = "changed"    // a record is not what it was when it was written, or not in its place
	ProblemMissing    ProblemKind = "missing"    // records were removed
	ProblemHead       ProblemKind = "head"       // the end of the log is not what was signed
	ProblemCheckpoint ProblemKind = "checkpoint" // the log is not what a checkpoint says, or the checkpoint file was changed
	ProblemReplaced   ProblemKind = "replaced"   // there was another log before
	ProblemDamaged    ProblemKind = "damaged"    // a record says that damage was found
)

const maxProblems = 100

func (r *Report) add(kind ProblemKind, seq int64, format string, a ...any) {
	if len(r.Problems) >= maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, Problem{Kind: kind, Seq: seq, Text: fmt.Sprintf(format, a...)})
}

// changed adds a record to those that are not what they were; neighbours are told as one, because a record that was
// removed and the rest renumbered concerns all behind it.
func (r *Report) changed(rec *Record) {
	for i := len(r.Problems) - 1; i >= 0; i-- {
		p := &r.Problems[i]
		if p.Kind != ProblemChanged {
			continue
		}
		if max(p.Seq, p.To)+1 == rec.Seq {
			p.To = rec.Seq
			p.content = link(p.content, rec)
			p.Text = fmt.Sprintf("records %d to %d were changed, or are not in their places", p.Seq, p.To)
			return
		}
		break
	}
	r.add(ProblemChanged, rec.Seq, "record %d (%s %s) was changed, or is not in its place", rec.Seq, rec.Action, rec.Object)
	if n := len(r.Problems) - 1; r.More == 0 {
		r.Problems[n].content = link(Hash{}, rec)
	}
}

// Verify reads the whole log and its checkpoints. What it finds is in the report; the error is that it could not read.
// Records may be appended meanwhile; it looks at one moment.
func (l *Log) Verify(ctx context.Context) (Report, error) {
	var rep Report
	lines, err := l.readCheckpoints(&rep)
	if err != nil {
		return Report{}, err
	}
	tx, err := l.db.Read.BeginTx(ctx, nil)
	if err != nil {
		return Report{}, l.db.Explain("verify", err)
	}
	defer func() { _ = tx.Rollback() }()
	h, err := readHead(ctx, tx)
	if err != nil {
		return Report{}, l.db.Explain("verify", err)
	}
	if h == nil {
		rep.add(ProblemHead, 0, "the signed head is missing")
		rep.settle(nil)
		return rep, nil
	}
	if bad := l.signer.check(h.keyID, h.message(), h.signature); bad != "" {
		rep.add(ProblemHead, h.seq, "the head of the log %s", bad)
	}
	known, newest := l.marks(&rep, lines, h)
	last, err := l.walk(ctx, tx, &rep, h, known)
	if err != nil {
		return Report{}, l.db.Explain("verify", err)
	}
	rep.Last = last
	switch {
	case last < h.seq:
		rep.add(ProblemMissing, last+1, "records %d to %d are missing at the end", last+1, h.seq)
	case last > h.seq:
		rep.add(ProblemHead, h.seq+1, "records %d to %d were added without a signature", h.seq+1, last)
	}
	if newest != nil && newest.Seq > max(last, h.seq) {
		rep.add(ProblemCheckpoint, newest.Seq, "the checkpoint of %s knows record %d, but the log ends with record %d: it was cut or put back to an older state",
			newest.Time.Format(time.RFC3339), newest.Seq, last)
	}
	var highest int64
	for _, cp := range lines {
		highest = max(highest, cp.N)
	}
	if highest < h.checkpoints {
		rep.add(ProblemCheckpoint, 0, "the checkpoint file ends with line %d, but it had at least %d: it was cut", highest, h.checkpoints)
	}
	rep.settle(lines)
	return rep, nil
}

// readCheckpoints reads the file and checks each line by itself.
func (l *Log) readCheckpoints(rep *Report) ([]checkpoint, error) {
	raw, err := os.ReadFile(filepath.Join(l.dir, "activity.checkpoints"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("verify activity log: %w", err)
	}
	var out []checkpoint
	// shift is by how much the lines are behind the numbers they were written with.
	n, shift := 0, int64(0)
	for line := range bytes.Lines(raw) {
		n++
		var cp checkpoint
		if err := json.Unmarshal(line, &cp); err != nil {
			if line[len(line)-1] == '\n' { // else it is being written
				rep.add(ProblemCheckpoint, 0, "line %d of the checkpoint file cannot be read", n)
			}
			continue
		}
		rep.Checkpoints++
		signature, _ := hex.DecodeString(cp.Signature)
		if bad := l.signer.check(cp.Key, cp.message(), signature); bad != "" {
			rep.add(ProblemCheckpoint, cp.Seq, "line %d of the checkpoint file %s", n, bad)
			continue
		}
		if cp.N-int64(n) != shift {
			shift = cp.N - int64(n)
			rep.add(ProblemCheckpoint, cp.Seq, "checkpoint %d, line %d of its file, does not follow the one before it: lines are missing or in the wrong order", cp.N, n)
		}
		out = append(out, cp)
	}
	return out, nil
}

// marks are the hashes that records of this chain must have, by number, and the newest of them. Other chains are problems.
func (l *Log) marks(rep *Report, lines []checkpoint, h *head) (map[int64]checkpoint, *checkpoint) {
	chain := hex.EncodeToString(h.chain)
	known := map[int64]checkpoint{h.seq: {Seq: h.seq, Hash: h.hash, Kind: "head"}}
	others := map[string]checkpoint{}
	var order []string
	var newest *checkpoint
	for _, cp := range lines {
		if cp.Chain != chain {
			if _, seen := others[cp.Chain]; !seen {
				order = append(order, cp.Chain)
			}
			others[cp.Chain] = cp
			continue
		}
		if newest == nil || cp.Seq > newest.Seq {
			newest = &cp
		}
		if _, taken := known[cp.Seq]; !taken {
			known[cp.Seq] = cp
		}
	}
	for _, id := range order {
		cp := others[id]
		rep.add(ProblemReplaced, 0, "there was another log before this one (%.8s); its last checkpoint is record %d of %s", id, cp.Seq, cp.Time.Format(time.RFC3339))
	}
	return known, newest
}

// walk follows the chain from its beginning and returns the number of the last record.
func (l *Log) walk(ctx context.Context, tx *sql.Tx, rep *Report, h *head, known map[int64]checkpoint) (int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+recordColumns+" FROM records ORDER BY seq")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	last, hash := h.anchorSeq, h.anchorHash
	var older Hash // the one before hash
	for rows.Next() {
		var r Record
		if err := scanRecord(rows, &r); err != nil {
			return 0, err
		}
		if rep.Records++; rep.Records == 1 {
			rep.First = r.Seq
		}
		switch {
		case r.Seq <= h.anchorSeq:
			rep.add(ProblemChanged, r.Seq, "record %d should have been removed: the log was signed as beginning with record %d", r.Seq, h.anchorSeq+1)
		case r.Seq == last+2:
			rep.add(ProblemMissing, last+1, "record %d is missing", last+1)
		case r.Seq != last+1:
			rep.add(ProblemMissing, last+1, "records %d to %d are missing", last+1, r.Seq-1)
		}
		gap := r.Seq != last+1
		// Behind two that were swapped stands the hash of the wrong one; the record itself is as it was.
		if !gap && link(hash, &r) != r.Hash && link(older, &r) != r.Hash {
			rep.changed(&r)
		}
		if cp, ok := known[r.Seq]; ok && cp.Hash != r.Hash {
			if cp.Kind == "head" {
				rep.add(ProblemHead, r.Seq, "record %d is not the one that was signed as the last", r.Seq)
			} else {
				rep.add(ProblemCheckpoint, r.Seq, "record %d is not the one in the checkpoint of %s: the log before it was written anew", r.Seq, cp.Time.Format(time.RFC3339))
			}
		}
		if r.Action == ActivityDamaged || r.Action == ActivityRestarted {
			rep.add(ProblemDamaged, r.Seq, "record %d of %s says: %s", r.Seq, r.Time.Format(time.RFC3339), r.Message)
		}
		last, older, hash = max(last, r.Seq), hash, r.Hash
	}
	return last, rows.Err()
}
