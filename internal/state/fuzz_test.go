package state

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzExport opens a store beside an export of any content: the host always gets a document that is valid JSON of this
// version, the one in the file or the default.
func FuzzExport(f *testing.F) {
	s, err := Open(f.Context(), filepath.Join(f.TempDir(), "state.db"), Config{})
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(ExportPath(s.db.Path()))
	if err != nil {
		f.Fatal(err)
	}
	_ = s.Close()
	for _, seed := range [][]byte{good, good[:len(good)/2], nil, []byte("{}"), []byte("null"), bytes.Replace(good, []byte(`"id":1`), []byte(`"id":-1`), 1),
		[]byte(`{"revision":{"id":1},"checksum":0,"document":{}}`), []byte(`{"revision":{"id":9,"deadline":"2026-01-01T00:00:00Z"},"fallback":{"revision":{"id":9}}}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(ExportPath(path), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		st, rev := s.Current()
		if rev.ID < 1 || !s.Restored() && len(st.Firewall.Ports) != 4 {
			t.Fatalf("restored %v: %+v", s.Restored(), rev)
		}
		if _, _, err := s.RevertExpired(t.Context(), s.clock()); err != nil {
			t.Fatal(err)
		}
	})
}
