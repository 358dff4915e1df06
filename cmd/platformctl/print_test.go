package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
)

func TestTable(t *testing.T) {
	var b bytes.Buffer
	a := &app{out: &b, env: func(string) string { return "" }}
	table := newTable("NAME", "EMPTY", "WHAT")
	table.row("a", "", "plain")
	table.row("länger als", "", "evil\x1b[31m\nname\u009b")
	a.print(table)
	want := "NAME        WHAT\na           plain\nlänger als  evil?[31m?name?\n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
}

func TestColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tc := range []struct {
		name string
		out  *os.File
		env  map[string]string
		want string
	}{
		{"terminal", terminal, map[string]string{"TERM": "xterm"}, "\x1b[31mx\x1b[0m"},
		{"NO_COLOR", terminal, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, "x"},
		{"dumb", terminal, map[string]string{"TERM": "dumb"}, "x"},
		{"file", file, map[string]string{"TERM": "xterm"}, "x"},
	} {
		a := &app{out: tc.out, env: func(k string) string { return tc.env[k] }}
		if got := a.paint(red, "x"); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"": {}, "2h": now.Add(-2 * time.Hour), "7d": now.Add(-7 * 24 * time.Hour), "2026-01-31T12:00:00Z": time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local), "2026-01-31 06:07": time.Date(2026, 1, 31, 6, 7, 0, 0, time.Local),
	} {
		var check checker
		if got := check.moment("--since", in, now); !got.Equal(want) || check.err() != nil {
			t.Errorf("%q: got %v, %v, want %v", in, got, check.err(), want)
		}
	}
	var check checker
	if check.moment("--since", "yesterday", now); codeOf(check.err()) != exitUsage {
		t.Errorf("yesterday: got %v, want a usage error", check.err())
	}
}

// Each code of the API has an exit code of the table, and each exit code is in the table once.
func TestExitCodes(t *testing.T) {
	listed := map[int]bool{}
	for _, e := range exitCodes() {
		if listed[e.code] || e.meaning == "" {
			t.Errorf("code %d: is listed twice, or without a meaning", e.code)
		}
		listed[e.code] = true
	}
	for code, want := range map[wire.Code]int{
		wire.CodeBadRequest: exitUsage, wire.CodeInvalid: exitUsage, wire.CodeTooLarge: exitUsage, wire.CodeNotFound: exitNotFound,
		wire.CodeExists: exitConflict, wire.CodeConflict: exitConflict, wire.CodeConfirmationPending: exitConflict, wire.CodeLockout: exitLockout,
		wire.CodeForbidden: exitUnreachable, wire.CodeUnavailable: exitUnavailable, wire.CodeStorageFull: exitUnavailable, wire.CodeInternal: exitInternal,
	} {
		if got := codeOf(&wire.Problem{Code: code}); got != want || !listed[got] {
			t.Errorf("%s: got %d, want %d", code, got, want)
		}
	}
}
