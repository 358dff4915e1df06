package activity

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/sqlite"
)

// checkpointEvery is how many records can be taken back unseen by whoever can write the database but not sign.
const checkpointEvery = 100

// checkpoint is one line of the checkpoint file.
type checkpoint struct {
	N     int64     `json:"n"` // its line, from 1
	Kind  string    `json:"kind"`
	Chain string    `json:"chain"`
	Seq   int64     `json:"seq"`
	Hash  Hash      `json:"hash"`
	Time  time.Time `json:"time"`
	// Accepted are the IDs of the problems that were accepted.
	Accepted  []string `json:"accepted,omitempty"`
	Key       string   `json:"key"`
	Signature string   `json:"signature"`
}

// What a checkpoint was written for.
const (
	kindStart  = "start"  // a chain began, or was opened
	kindEvery  = "every"  // so many records were written
	kindClosed = "closed" // the log was closed
	kindPruned = "pruned" // records up to Seq were removed
	kindAccept = "accept" // problems were accepted
)

func (c *checkpoint) message() []byte {
	b := []byte("platformd activity checkpoint 1\x00")
	for _, s := range append([]string{c.Kind, c.Chain, c.Key}, c.Accepted...) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, n := range []int64{c.N, c.Seq, c.Time.UnixNano()} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, c.Hash[:]...)
}

// checkpointFile is only ever appended to.
type checkpointFile struct {
	file *os.File
	// lines is the number of the last line.
	lines int64
	// last is the last line that can be read when the file was opened, later the one written last; nil where there is none.
	last *checkpoint
}

// openCheckpoints opens or creates the file. A last line without its end is what a crash left; it is cut off.
func openCheckpoints(path string) (*checkpointFile, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open checkpoints: %w", err)
	}
	whole := bytes.LastIndexByte(raw, '\n') + 1
	c := &checkpointFile{file: f}
	err = f.Truncate(int64(whole))
	if err == nil {
		_, err = f.Seek(int64(whole), 0)
	}
	if err == nil {
		err = sqlite.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open checkpoints: %w", err), f.Close())
	}
	var lines, highest int64
	for line := range bytes.Lines(raw[:whole]) {
		lines++
		var cp checkpoint
		if json.Unmarshal(line, &cp) == nil {
			c.last = &cp
			highest = max(highest, cp.N)
		}
	}
	c.lines = max(lines, highest)
	return c, nil
}

// add signs and writes a line; it is on disk on return.
func (c *checkpointFile) add(s signer, h *head, kind string, now time.Time, accepted ...string) error {
	cp := checkpoint{N: c.lines + 1, Kind: kind, Chain: hex.EncodeToString(h.chain), Seq: h.seq, Hash: h.hash, Time: now.Round(0).UTC(), Accepted: accepted, Key: s.id}
	if kind == kindPruned {
		cp.Seq, cp.Hash = h.anchorSeq, h.anchorHash
	}
	cp.Signature = hex.EncodeToString(s.sign(cp.message()))
	line, err := json.Marshal(cp)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	at, err := c.file.Seek(0, 1)
	if err == nil {
		if _, err = c.file.Write(append(line, '\n')); err == nil {
			err = c.file.Sync()
		}
	}
	if err != nil {
		// A part of a line would hide the next one.
		_, seek := c.file.Seek(at, 0)
		return errors.Join(fmt.Errorf("write checkpoint: %w", err), c.file.Truncate(at), seek)
	}
	c.lines++
	c.last = &cp
	return nil
}
