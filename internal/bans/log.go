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
	last := map[netip.Addr]time.Time{}
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			line = nil
		}
		if message, ok := decode(line); ok {
			if f, ok := sshd.parse(message); ok && !again(last, f.Source, message, now()) {
				if err := out.Encode(Report{Source: f.Source, Reason: SSHD, Detail: clip(message), Weight: f.Weight, Time: now()}); err != nil {
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

// again reports whether a message only closes an attempt that was counted a moment ago: sshd writes "Invalid user" or
// "Connection closed by ... user" beside "Failed password" for one and the same attempt.
func again(last map[netip.Addr]time.Time, a netip.Addr, message string, now time.Time) bool {
	const together = 2 * time.Second
	t, seen := last[a]
	if len(last) > 10_000 {
		clear(last)
	}
	last[a] = now
	if strings.HasPrefix(message, "Failed ") {
		return false
	}
	return seen && now.Sub(t) < together
}

// fromJournal takes the message of an entry that sshd wrote as root. Only fields that begin with an underscore are
// journald's own; every other one is chosen by whoever logs (systemd.journal-fields(7)).
func fromJournal(line []byte) (string, bool) {
	var e struct {
		Comm    string          `json:"_COMM"`
		UID     string          `json:"_UID"`
		Message json.RawMessage `json:"MESSAGE"`
	}
	if len(line) == 0 || json.Unmarshal(line, &e) != nil {
		return "", false
	}
	if e.UID != "0" || !slices.Contains([]string{"sshd", "sshd-session", "sshd-auth"}, e.Comm) {
		return "", false
	}
	var text string
	if json.Unmarshal(e.Message, &text) == nil {
		return text, true
	}
	var numbers []uint16 // text that is no UTF-8 comes as a list of bytes
	if json.Unmarshal(e.Message, &numbers) != nil {
		return "", false
	}
	b := make([]byte, len(numbers))
	for i, n := range numbers {
		b[i] = byte(n)
	}
	return string(b), true
}

// syslogDecoder takes the message of lines whose program is sshd, in the traditional or the ISO form of time.
func syslogDecoder() func([]byte) (string, bool) {
	form := regexp.MustCompile(`^(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2})) [^ ]+ sshd(?:-session|-auth)?\[[0-9]+\]: (.*)$`)
	return func(line []byte) (string, bool) {
		m := form.FindSubmatch([]byte(strings.TrimRight(string(line), "\r\n")))
		if m == nil {
			return "", false
		}
		return string(m[1]), true
	}
}
