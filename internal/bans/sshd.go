package bans

import (
	"net/netip"
	"regexp"
	"strings"
)

// SSHD is the reason of strikes that sshd's log brings.
const SSHD = "sshd"

// Failure is what one message of sshd says.
type Failure struct {
	Source netip.Addr
	// Weight is how many strikes it counts as. Messages that come together with another of the same attempt count once:
	// "Invalid user" comes before "Failed password for invalid user".
	Weight int
}

// sshdForm is one message. Each is anchored so that the address is the one that sshd wrote: what the client chooses
// (user name, version string) stands either behind the address, which then directly follows a fixed beginning, or before
// it, and then the match is greedy and the rest up to the end of the line is fixed. The texts are those of auth.c,
// auth2.c, packet.c, kex.c and sshd.c of OpenSSH 6.6 to 10.
type sshdForm struct {
	re     *regexp.Regexp
	weight int
}

// sshdForms is compiled once by each parser.
func sshdForms() []sshdForm {
	const (
		addr    = `([0-9A-Fa-f:.]+(?:%[0-9A-Za-z_.-]+)?)`
		port    = ` port [0-9]{1,5}`
		preauth = `(?: \[preauth\])?`
	)
	form := func(weight int, expr string) sshdForm { return sshdForm{regexp.MustCompile(`^` + expr + `$`), weight} }
	return []sshdForm{
		form(1, `Failed [a-z-]+(?:/[a-z-]+)? for (?:invalid user )?.* from `+addr+port+`(?: ssh2?)?(?:: [A-Z0-9-]+ (?:SHA256:)?[A-Za-z0-9+/:=]+)?`),
		form(1, `(?:error: )?maximum authentication attempts exceeded for (?:invalid user )?.* from `+addr+port+` ssh2`+preauth),
		form(1, `User [^ ]+ from `+addr+` not allowed because .*`),
		form(1, `ROOT LOGIN REFUSED FROM `+addr+`(?:`+port+`)?`),
		form(1, `Invalid user .* from `+addr+`(?:`+port+`)?`),
		form(1, `(?:Connection (?:closed|reset) by|Disconnected from) (?:authenticating|invalid) user .* `+addr+port+preauth),
		form(1, `Did not receive identification string from `+addr+`(?:`+port+`)?`),
		form(1, `Bad protocol version identification '.*' from `+addr+`(?:`+port+`)?`),
		form(1, `(?:error: )?kex_exchange_identification: .*from `+addr+port),
		form(1, `banner exchange: Connection from `+addr+port+`: .*`),
		form(1, `Unable to negotiate with `+addr+port+`: .*`),
		form(1, `(?:fatal: )?Timeout before authentication for (?:connection from )?`+addr+`(?: to [^ ]+, pid = [0-9]+|`+port+`)?`),
	}
}

// sshdParser reads messages of sshd.
type sshdParser struct{ forms []sshdForm }

func newSSHDParser() *sshdParser { return &sshdParser{sshdForms()} }

// maxMessage bounds a message; sshd's own limit is 1,024 bytes (MSGBUFSIZ in log.c).
const maxMessage = 2048

// parse reports what a message says; ok is false where it is no failure, or where its address is none.
func (p *sshdParser) parse(message string) (f Failure, ok bool) {
	if len(message) > maxMessage || strings.ContainsAny(message, "\n\r\x00") {
		return f, false
	}
	for _, form := range p.forms {
		m := form.re.FindStringSubmatch(message)
		if m == nil {
			continue
		}
		a, err := netip.ParseAddr(m[1])
		if err != nil {
			return f, false
		}
		return Failure{Source: a.Unmap().WithZone(""), Weight: form.weight}, true
	}
	return f, false
}
