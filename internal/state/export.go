package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/platformd/platformd/internal/sqlite"
)

// exported is the file beside the database: the current document, and, while it is provisional, what it goes back to.
type exported struct {
	Revision Revision        `json:"revision"`
	Fallback *exportedState  `json:"fallback,omitempty"`
	Checksum uint32          `json:"checksum"` // CRC-32C of the bytes of document
	Document json.RawMessage `json:"document"`
}

type exportedState struct {
	Revision Revision        `json:"revision"`
	Checksum uint32          `json:"checksum"`
	Document json.RawMessage `json:"document"`
}

var errNoExport = errors.New("no export")

// export writes the current document beside the database. The database is what counts: where this fails, the revision
// stands, and the file is written again with the next one.
func (s *Store) export() {
	cur := s.cur.Load()
	head := exported{Revision: cur.rev, Checksum: checksum(cur.enc.doc)}
	err := func() error {
		if cur.rev.Provisional() {
			old, err := s.fallback(context.Background(), cur)
			if err != nil {
				return err
			}
			enc, err := encode(old, nil)
			if err != nil {
				return err
			}
			head.Fallback = &exportedState{
				Revision: Revision{ID: cur.rev.Predecessor, Time: cur.rev.Time, Actor: "platformd", Source: "local", Summary: "content before a provisional change"},
				Checksum: checksum(enc.doc), Document: enc.doc,
			}
		}
		raw, err := json.Marshal(struct {
			exported
			Document bool `json:"document,omitempty"`
		}{exported: head})
		if err != nil {
			return err
		}
		// The document is appended as it is: encoding it again would cost as much as the rest of an update.
		raw = append(raw[:len(raw)-1], `,"document":`...)
		return sqlite.WriteFile(ExportPath(s.db.Path()), 0o600, raw, cur.enc.doc, []byte("}\n"))
	}()
	if err != nil {
		s.logger.Error("state export not written", "revision", cur.rev.ID, "cause", err)
	}
}

func readExport(path string) (*exported, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoExport
	}
	if err != nil {
		return nil, fmt.Errorf("read export: %w", err)
	}
	var e exported
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("read export %s: %w", path, err)
	}
	parts := []exportedState{{e.Revision, e.Checksum, e.Document}}
	if e.Fallback != nil {
		parts = append(parts, *e.Fallback)
	}
	for _, p := range parts {
		if p.Revision.ID <= 0 || checksum(p.Document) != p.Checksum {
			return nil, fmt.Errorf("read export %s: revision %d does not match its checksum", path, p.Revision.ID)
		}
		if _, err := decode(p.Document); err != nil {
			return nil, fmt.Errorf("read export %s: %w", path, err)
		}
	}
	return &e, nil
}
