package bans

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSSHDMessages(t *testing.T) {
	tests := map[string]string{ // message -> source, "" for no failure
		"Failed password for root from 192.0.2.1 port 50022 ssh2":                                                    "192.0.2.1",
		"Failed password for invalid user admin from 2001:db8::5 port 1 ssh2":                                        "2001:db8::5",
		"Failed keyboard-interactive/pam for invalid user a b c from 192.0.2.1 port 1 ssh2":                          "192.0.2.1",
		"Failed publickey for git from 192.0.2.1 port 40 ssh2: ED25519 SHA256:AAAA+b/c=":                             "192.0.2.1",
		"Failed none for invalid user  from 192.0.2.1 port 40 ssh2":                                                  "192.0.2.1",
		"Invalid user oracle from 192.0.2.1 port 50022":                                                              "192.0.2.1",
		"Invalid user  from fe80::1%eth0 port 5":                                                                     "fe80::1",
		"Connection closed by authenticating user root 192.0.2.1 port 5 [preauth]":                                   "192.0.2.1",
		"Connection reset by invalid user x 192.0.2.1 port 5 [preauth]":                                              "192.0.2.1",
		"Disconnected from invalid user x 192.0.2.1 port 5 [preauth]":                                                "192.0.2.1",
		"error: maximum authentication attempts exceeded for invalid user x from 192.0.2.1 port 5 ssh2 [preauth]":    "192.0.2.1",
		"User root from 192.0.2.1 not allowed because not listed in AllowUsers":                                      "192.0.2.1",
		"ROOT LOGIN REFUSED FROM 192.0.2.1 port 7":                                                                   "192.0.2.1",
		"Did not receive identification string from 192.0.2.1 port 7":                                                "192.0.2.1",
		"Bad protocol version identification 'GET / HTTP/1.1' from 192.0.2.1 port 7":                                 "192.0.2.1",
		"banner exchange: Connection from 192.0.2.1 port 7: invalid format":                                          "192.0.2.1",
		"Unable to negotiate with 192.0.2.1 port 7: no matching host key type found. Their offer: ssh-dss [preauth]": "192.0.2.1",
		"fatal: Timeout before authentication for 192.0.2.1 port 7":                                                  "192.0.2.1",
		"Timeout before authentication for connection from 192.0.2.1 to 203.0.113.1, pid = 77":                       "192.0.2.1",

		"Accepted password for root from 192.0.2.1 port 50022 ssh2":     "",
		"Accepted publickey for root from 192.0.2.1 port 1 ssh2: RSA x": "",
		"Server listening on 0.0.0.0 port 22.":                          "",
		"Disconnected from user root 192.0.2.1 port 5":                  "",
		"Connection closed by 192.0.2.1 port 5 [preauth]":               "",
		"": "",

		// What a client chooses must not name another source.
		"Failed password for invalid user x from 198.51.100.1 port 9 ssh2 from 192.0.2.1 port 5 ssh2":                            "192.0.2.1",
		"Failed password for invalid user x from 198.51.100.1 port 9 ssh2: RSA SHA256:abc from 192.0.2.1 port 5 ssh2":            "192.0.2.1",
		"Invalid user a from 198.51.100.1 port 9 from 192.0.2.1 port 5":                                                          "192.0.2.1",
		"Connection closed by invalid user a 198.51.100.1 port 9 [preauth] 192.0.2.1 port 5 [preauth]":                           "192.0.2.1",
		"Bad protocol version identification 'x' from 198.51.100.1 port 9' from 192.0.2.1 port 7":                                "192.0.2.1",
		"Unable to negotiate with 192.0.2.1 port 7: no matching cipher found. Their offer: x from 198.51.100.1 port 9 [preauth]": "192.0.2.1",
		"x Failed password for root from 198.51.100.1 port 50022 ssh2":                                                           "",
		"Failed password for root from 198.51.100.1 port 50022 ssh2 and more":                                                    "",
		"Failed password for root from 300.1.1.1 port 50022 ssh2":                                                                "",
		"Failed password for root\nFailed password for root from 198.51.100.1 port 5 ssh2":                                       "",
	}
	p := newSSHDParser()
	for message, want := range tests {
		f, ok := p.parse(message)
		got := ""
		if ok {
			got = f.Source.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
}

func read(t *testing.T, format LogFormat, in string) []Report {
	t.Helper()
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	if err := Read(strings.NewReader(in), format, &out, func() time.Time { now = now.Add(5 * time.Second); return now }); err != nil {
		t.Fatal(err)
	}
	var reports []Report
	for dec := json.NewDecoder(&out); dec.More(); {
		var r Report
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	return reports
}

func TestJournalTrustsOnlyItsOwnFields(t *testing.T) {
	pid := 0
	journal := func(fields ...string) string {
		pid++
		m := map[string]string{"_PID": strconv.Itoa(pid)}
		for i := 0; i+1 < len(fields); i += 2 {
			m[fields[i]] = fields[i+1]
		}
		b, _ := json.Marshal(m)
		return string(b) + "\n"
	}
	const failed = "Failed password for root from 192.0.2.1 port 5 ssh2"
	in := journal("_COMM", "sshd", "_UID", "0", "MESSAGE", failed) +
		journal("_COMM", "sshd-session", "_UID", "0", "MESSAGE", strings.Replace(failed, "192.0.2.1", "192.0.2.2", 1)) +
		journal("_COMM", "logger", "_UID", "0", "SYSLOG_IDENTIFIER", "sshd", "COMM", "sshd", "MESSAGE", strings.Replace(failed, "192.0.2.1", "198.51.100.1", 1)) +
		journal("_COMM", "sshd", "_UID", "1000", "MESSAGE", strings.Replace(failed, "192.0.2.1", "198.51.100.2", 1)) +
		"not json\n" + strings.Repeat("x", maxLine*2) + "\n" +
		`{"_COMM":"sshd","_UID":"0","_PID":"99","MESSAGE":[70,97,105,108,101,100,32,112,97,115,115,119,111,114,100,32,102,111,114,32,255,32,102,114,111,109,32,49,57,50,46,48,46,50,46,51,32,112,111,114,116,32,53,32,115,115,104,50]}` + "\n"
	var got []string
	for _, r := range read(t, Journal, in) {
		got = append(got, r.Source.String())
	}
	if s := strings.Join(got, " "); s != "192.0.2.1 192.0.2.2 192.0.2.3" {
		t.Errorf("got %q, want only what sshd itself logged as root", s)
	}
}

func TestSyslogLines(t *testing.T) {
	in := "Nov 20 10:00:00 vps sshd[77]: Failed password for root from 192.0.2.1 port 5 ssh2\n" +
		"2026-11-20T10:00:01.123456+00:00 vps sshd-session[78]: Invalid user x from 2001:db8::1 port 9\n" +
		"Nov 20 10:00:02 vps sudo[79]: Failed password for root from 198.51.100.1 port 5 ssh2\n" +
		"Nov 20 10:00:02 vps app[79]: sshd[1]: Failed password for root from 198.51.100.2 port 5 ssh2\n" +
		"Nov 20 10:00:02 vps sshd[80]: Accepted password for root from 198.51.100.3 port 5 ssh2"
	reports := read(t, Syslog, in)
	if len(reports) != 2 || reports[0].Source != netip.MustParseAddr("192.0.2.1") || reports[1].Source != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("got %+v", reports)
	}
}

func TestOneAttemptIsOneStrike(t *testing.T) {
	line := func(pid, message string) string { return "Nov 20 10:00:00 vps sshd[" + pid + "]: " + message + "\n" }
	const invalid, failed, closed = "Invalid user x from 192.0.2.1 port 5", "Failed password for invalid user x from 192.0.2.1 port 5 ssh2",
		"Connection closed by invalid user x 192.0.2.1 port 5 [preauth]"
	tests := map[string]struct {
		in   string
		want int
	}{
		"a password for nobody":               {line("1", invalid) + line("1", failed) + line("1", closed), 1},
		"three passwords in one connection":   {line("1", invalid) + line("1", failed) + line("1", failed) + line("1", failed) + line("1", closed), 3},
		"a known user":                        {line("1", "Failed password for root from 192.0.2.1 port 5 ssh2") + line("1", "Connection closed by authenticating user root 192.0.2.1 port 5 [preauth]"), 1},
		"no credential at all, fast":          {line("1", invalid) + line("1", closed) + line("2", invalid) + line("2", closed) + line("3", invalid) + line("3", closed), 3},
		"connections that end one by another": {line("1", closed) + line("2", closed), 2},
	}
	for name, tt := range tests {
		if got := len(read(t, Syslog, tt.in)); got != tt.want {
			t.Errorf("%s: got %d strikes, want %d", name, got, tt.want)
		}
	}
}

func FuzzSSHD(f *testing.F) {
	f.Add("Failed password for invalid user x from 198.51.100.1 port 9 ssh2 from 192.0.2.1 port 5 ssh2")
	f.Add("Invalid user \x00 from ::1 port 5")
	p := newSSHDParser()
	f.Fuzz(func(t *testing.T, user string) {
		if strings.ContainsAny(user, "\n\r\x00") {
			return
		}
		for _, form := range []string{"Failed password for invalid user %s from 192.0.2.77 port 5 ssh2", "Invalid user %s from 192.0.2.77 port 5",
			"Connection closed by invalid user %s 192.0.2.77 port 5 [preauth]", "Bad protocol version identification '%s' from 192.0.2.77 port 5"} {
			if got, ok := p.parse(strings.Replace(form, "%s", user, 1)); ok && got.Source != netip.MustParseAddr("192.0.2.77") {
				t.Fatalf("user %q made %v be taken for the source", user, got.Source)
			}
		}
	})
}
