package bans

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// LogFormat is how a stream of log lines is written.
type LogFormat string

// Journal is the output of "journalctl -o json"; Syslog is a file that a syslog daemon writes, such as auth.log.
const (
	Journal LogFormat = "journal"
	Syslog  LogFormat = "syslog"
)

// maxLine bounds a log line; a longer one is skipped as a whole.
const maxLine = 64 << 10

// Report is a strike on its way from the process that reads logs to the one that counts: one line of JSON.
type Report struct {
	Source netip.Addr `json:"source"`
	Reason string     `json:"reason"`
	Detail string     `json:"detail"`
	Weight int        `json:"weight"`
	Time   time.Time  `json:"time"`
}

// Read reads log lines until r ends and writes a Report for each failure to w. It runs in a process without privileges:
// what it reads was in part chosen by whoever talks to the host.
func Read(r io.Reader, format LogFormat, w io.Writer, now func() time.Time) error {
	in := bufio.NewReaderSize(r, maxLine)
	out := json.NewEncoder(w)
	sshd := newSSHDParser()
	decode := syslogDecoder()
	if format == Journal {
		decode = fromJournal
	}
	seen := attempts{}
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			line = nil
		}
		if e, ok := decode(line); ok {
			if f, ok := sshd.parse(e.message); ok && seen.begins(e) {
				if err := out.Encode(Report{Source: f.Source, Reason: SSHD, Detail: clip(e.message), Weight: f.Weight, Time: now()}); err != nil {
					return fmt.Errorf("report a failure: %w", err)
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read log: %w", err)
		}
	}
}

// entry is a message with the process that wrote it: one connection, as far as sshd is concerned.
type entry struct{ process, message string }

// attempts remembers, by process, whether the last message that counted was a failed credential.
type attempts map[string]bool

// maxAttempts bounds the memory; beyond it, it is cleared, and some attempts count twice.
const maxAttempts = 10_000

// begins reports whether a message begins an attempt. sshd says of one and the same attempt "Invalid user", then "Failed
// password for invalid user", and when the client leaves "Connection closed by invalid user". So in one connection each
// failed credential counts, except the first behind "Invalid user"; and where none failed, one other message does.
func (a attempts) begins(e entry) bool {
	failed := strings.HasPrefix(e.message, "Failed ")
	before, known := a[e.process]
	if len(a) >= maxAttempts {
		clear(a)
	}
	a[e.process] = failed || before
	if failed {
		return !known || before
	}
	return !known
}

// fromJournal takes the message of an entry that sshd wrote as root. Only fields that begin with an underscore are
// journald's own; every other one is chosen by whoever logs (systemd.journal-fields(7)).
func fromJournal(line []byte) (entry, bool) {
	var e struct {
		Comm    string          `json:"_COMM"`
		UID     string          `json:"_UID"`
		PID     string          `json:"_PID"`
		Message json.RawMessage `json:"MESSAGE"`
	}
	if len(line) == 0 || json.Unmarshal(line, &e) != nil {
		return entry{}, false
	}
	if e.UID != "0" || !slices.Contains([]string{"sshd", "sshd-session", "sshd-auth"}, e.Comm) {
		return entry{}, false
	}
	var text string
	if json.Unmarshal(e.Message, &text) == nil {
		return entry{e.PID, text}, true
	}
	var numbers []uint16 // text that is no UTF-8 comes as a list of bytes
	if json.Unmarshal(e.Message, &numbers) != nil {
		return entry{}, false
	}
	b := make([]byte, len(numbers))
	for i, n := range numbers {
		b[i] = byte(n)
	}
	return entry{e.PID, string(b)}, true
}

// syslogDecoder takes the message of lines whose program is sshd, in the traditional or the ISO form of time.
func syslogDecoder() func([]byte) (entry, bool) {
	form := regexp.MustCompile(`^(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2})) [^ ]+ sshd(?:-session|-auth)?\[([0-9]+)\]: (.*)$`)
	return func(line []byte) (entry, bool) {
		m := form.FindSubmatch([]byte(strings.TrimRight(string(line), "\r\n")))
		if m == nil {
			return entry{}, false
		}
		return entry{string(m[1]), string(m[2])}, true
	}
}
