package activity

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each case does what somebody does who can write the files but has no key. The log is closed meanwhile.
func TestTampering(t *testing.T) {
	exec := func(queries ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, q := range queries {
				if _, err := db.Exec(q); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	checkpoints := func(change func([]string) []string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			name := filepath.Join(filepath.Dir(path), "activity.checkpoints")
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lines := change(strings.SplitAfter(strings.TrimSuffix(string(raw), "\n"), "\n"))
			if err := os.WriteFile(name, []byte(strings.TrimSuffix(strings.Join(lines, ""), "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		damage func(*testing.T, string)
		want   []string // "kind seq", exactly
		text   string   // a part of the first problem
	}{
		{"nothing", exec(), nil, ""},
		{"changed message", exec("UPDATE records SET message = 'x' WHERE seq = 17"), []string{"changed 17"}, "record 17 (address-blocked 192.0.2.15) was changed"},
		{"changed time", exec("UPDATE records SET time = time + 1 WHERE seq = 17"), []string{"changed 17"}, ""},
		{"changed first", exec("UPDATE records SET actor = 'x' WHERE seq = 1"), []string{"changed 1"}, ""},
		{"text moved to the next field", exec("UPDATE records SET object = object || message, message = '' WHERE seq = 17"), []string{"changed 17"}, ""},
		{"removed one", exec("DELETE FROM records WHERE seq = 17"), []string{"missing 17"}, "record 17 is missing"},
		{"removed some", exec("DELETE FROM records WHERE seq BETWEEN 17 AND 19"), []string{"missing 17"}, "records 17 to 19 are missing"},
		{"removed and renumbered", exec("DELETE FROM records WHERE seq = 17", "UPDATE records SET seq = -seq+1 WHERE seq > 17", "UPDATE records SET seq = -seq WHERE seq < 0"),
			[]string{"changed 17-250", "checkpoint 101", "checkpoint 201", "missing 251", "damaged 252"}, "records 17 to 250 were changed"},
		{"swapped", exec("UPDATE records SET seq = -17 WHERE seq = 17", "UPDATE records SET seq = 17 WHERE seq = 18", "UPDATE records SET seq = 18 WHERE seq = -17"),
			[]string{"changed 17-18"}, ""},
		{"cut front", exec("DELETE FROM records WHERE seq < 5"), []string{"missing 1"}, "records 1 to 4 are missing"},
		{"cut tail", exec("DELETE FROM records WHERE seq > 240"), []string{"missing 241", "damaged 252"}, "records 241 to 251 are missing"},
		{"cut tail with the head set back", exec("DELETE FROM records WHERE seq > 240", "UPDATE head SET seq = 240, hash = (SELECT hash FROM records WHERE seq = 240)"),
			[]string{"missing 241", "damaged 252"}, ""},
		{"added", exec("INSERT INTO records SELECT 252, time, actor, source, action, object, revision, outcome, message, before, after, hash FROM records WHERE seq = 251"),
			[]string{"changed 252", "damaged 253"}, ""},
		{"all records", exec("DELETE FROM records"), []string{"missing 1", "damaged 252"}, "records 1 to 251 are missing"},
		{"signature", exec("UPDATE head SET signature = zeroblob(64)"), []string{"damaged 252"}, "the head of the log does not match its signature"},
		{"anchor", exec("DELETE FROM records WHERE seq < 5", "UPDATE head SET anchor_seq = 4"), []string{"damaged 252", "changed 5"}, "the head of the log does not match its signature"},
		{"records and no head", exec("DELETE FROM head"), []string{"replaced 0", "damaged 1"}, "its last checkpoint is record 251"},
		{"database removed", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, []string{"replaced 0", "damaged 1"}, "its last checkpoint is record 251"},
		{"checkpoint removed", checkpoints(func(l []string) []string { return append(l[:1:1], l[2:]...) }), []string{"checkpoint 201"}, "lines are missing"},
		{"checkpoints in the wrong order", checkpoints(func(l []string) []string { l[1], l[2] = l[2], l[1]; return l }), []string{"checkpoint 101", "checkpoint 201", "checkpoint 251"}, ""},
		{"checkpoint changed", checkpoints(func(l []string) []string { l[1] = strings.Replace(l[1], `"seq":101`, `"seq":102`, 1); return l }),
			[]string{"checkpoint 102"}, "line 2 of the checkpoint file does not match its signature"},
		{"checkpoint unreadable", checkpoints(func(l []string) []string { l[1] = "?\n"; return l }), []string{"checkpoint 0"}, "line 2 of the checkpoint file cannot be read"},
		{"checkpoints removed", checkpoints(func([]string) []string { return []string{""} }), []string{"damaged 252", "checkpoint 252", "checkpoint 0"}, ""},
		{"key replaced", func(t *testing.T, path string) {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), "activity.key"), []byte(hex.EncodeToString(make([]byte, 32))), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"checkpoint 1", "checkpoint 101", "checkpoint 201", "checkpoint 251", "damaged 252"}, "is signed with another key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, c, path := newLog(t)
			addMany(t, l, 250)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, path)
			l = open(t, path, c)
			addMany(t, l, 3) // the evidence outlasts what is written after it
			rep := verify(t, l)
			if rep.OK != (len(tt.want) == 0) {
				t.Errorf("OK is %v: %+v", rep.OK, rep.Problems)
			}
			got := map[string]string{}
			var list []string
			for _, p := range rep.Problems {
				key := fmt.Sprint(p.Kind, " ", p.Seq)
				if p.To > 0 {
					key += fmt.Sprint("-", p.To)
				}
				got[key] = p.Text
				list = append(list, key+": "+p.Text)
			}
			for _, want := range tt.want {
				if _, ok := got[want]; !ok {
					t.Errorf("missing %q in\n%s", want, strings.Join(list, "\n"))
				}
			}
			if len(rep.Problems) != len(tt.want) {
				t.Errorf("got %d problems, want %d:\n%s", len(rep.Problems), len(tt.want), strings.Join(list, "\n"))
			}
			if !strings.Contains(strings.Join(list, "\n"), tt.text) {
				t.Errorf("missing %q in\n%s", tt.text, strings.Join(list, "\n"))
			}
		})
	}
}

// An older copy of the database carries a signature that is right; the checkpoints know better.
func TestDatabasePutBack(t *testing.T) {
	l, c, path := newLog(t)
	addMany(t, l, 50)
	_ = l.Close()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l = open(t, path, c)
	addMany(t, l, 50)
	_ = l.Close()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, path, c)
	rep := verify(t, l)
	if rep.OK || len(rep.Problems) != 2 || rep.Problems[0].Text != "records 52 to 101 are missing" || rep.Problems[1].Kind != ProblemDamaged {
		t.Errorf("got %+v", rep)
	}
}

// While the log is open, what is done behind its back shows at once.
func TestTamperingWhileOpen(t *testing.T) {
	l, _, path := newLog(t)
	addMany(t, l, 20)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("DELETE FROM records WHERE seq > 15"); err != nil {
		t.Fatal(err)
	}
	rep := verify(t, l)
	if rep.OK || rep.Problems[0].Text != "records 16 to 21 are missing at the end" {
		t.Errorf("got %+v", rep)
	}
}

// What somebody has looked at is not told again; what is done after that is.
func TestAccept(t *testing.T) {
	l, c, path := newLog(t)
	addMany(t, l, 20)
	tamper := func(query string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	tamper("UPDATE records SET message = 'x' WHERE seq = 7")
	tamper("DELETE FROM records WHERE seq = 9")
	rep, err := l.Accept(t.Context(), "root", "local")
	if err != nil || !rep.OK || len(rep.Accepted) != 2 || len(rep.Problems) != 0 {
		t.Fatalf("got %+v, %v", rep, err)
	}
	if again, err := l.Accept(t.Context(), "root", "local"); err != nil || again.Last != rep.Last {
		t.Errorf("accepting nothing wrote a record: %+v, %v", again, err)
	}
	_ = l.Close()
	l = open(t, path, c)
	wantOK(t, l)
	found, err := l.Query(t.Context(), Filter{Action: string(ActivityAccepted)})
	if err != nil || len(found) != 1 || found[0].Actor != "root" || !strings.Contains(found[0].Message, "record 9 is missing") {
		t.Errorf("got %+v, %v", found, err)
	}
	tamper("UPDATE records SET message = 'y' WHERE seq = 7")
	if rep := verify(t, l); rep.OK || len(rep.Problems) != 1 || rep.Problems[0].Seq != 7 || len(rep.Accepted) != 1 {
		t.Errorf("changed once more: %+v", rep)
	}
	tamper("DELETE FROM records WHERE seq = 10")
	if rep := verify(t, l); rep.OK || len(rep.Problems) != 2 {
		t.Errorf("removed one more: %+v", rep)
	}
}
