package doctor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// SSHD is what matters here of the settings that sshd runs with.
type SSHD struct {
	Ports []uint16
	// Password, Keyboard and Empty: logins by password, by what PAM asks (usually a password), by an empty password.
	Password, Keyboard, Empty bool
	// Root is PermitRootLogin, in lower case.
	Root string
}

// maxSSHDLines bounds what is read of sshd's answer.
const maxSSHDLines = 2000

// ParseSSHD reads what "sshd -T" prints: a keyword in lower case and its value on each line (sshd_config(5)). A later line
// wins, but for ports, of which there may be several.
func ParseSSHD(text string) SSHD {
	var s SSHD
	n := 0
	for line := range strings.Lines(text) {
		if n++; n > maxSSHDLines {
			break
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "port":
			if p, err := strconv.ParseUint(value, 10, 16); err == nil && p > 0 && len(s.Ports) < 64 {
				s.Ports = append(s.Ports, uint16(p))
			}
		case "passwordauthentication":
			s.Password = value == "yes"
		case "kbdinteractiveauthentication", "challengeresponseauthentication":
			s.Keyboard = value == "yes"
		case "permitemptypasswords":
			s.Empty = value == "yes"
		case "permitrootlogin":
			s.Root = value
		}
	}
	slices.Sort(s.Ports)
	s.Ports = slices.Compact(s.Ports)
	return s
}

// Logins judges the ways to log in. A nil s means that no sshd concerns this host; err is why it could not be asked.
func Logins(s *SSHD, err error) []Finding {
	const check = "ssh-logins"
	switch {
	case err != nil:
		return []Finding{finding(check, Skipped, "run sshd -T as root and look for passwordauthentication", "sshd did not say its settings: %v", err)}
	case s == nil:
		return []Finding{finding(check, Skipped, "", "no sshd listens here")}
	}
	const keys = "put your public key into ~/.ssh/authorized_keys and try it; then write \"PasswordAuthentication no\" and \"KbdInteractiveAuthentication no\" " +
		"into /etc/ssh/sshd_config.d/10-keys.conf, and: systemctl reload ssh"
	switch {
	case s.Empty && s.Password:
		return []Finding{finding(check, Failed, keys, "sshd takes empty passwords")}
	case s.Password && s.Root == "yes":
		return []Finding{finding(check, Failed, keys, "sshd takes passwords, also for root: they are being guessed all day")}
	case s.Password:
		return []Finding{finding(check, Failed, keys, "sshd takes passwords: they are being guessed all day")}
	case s.Keyboard:
		return []Finding{finding(check, Warning, keys, "sshd takes what PAM asks for at the keyboard, which usually is the password")}
	}
	return []Finding{finding(check, OK, "", "keys only")}
}

// WayIn judges whether the policy lets anybody reach sshd.
func WayIn(rs *firewall.Ruleset, ports []uint16) Finding {
	const check = "ssh-ports"
	if len(ports) == 0 {
		return finding(check, Skipped, "", "no sshd listens here")
	}
	var open, closed []uint16
	for _, p := range ports {
		if Opened(rs, firewall.TCP, p) {
			open = append(open, p)
		} else {
			closed = append(closed, p)
		}
	}
	switch {
	case len(open) == 0:
		return finding(check, Failed, "platformctl ports open "+strconv.Itoa(int(closed[0]))+" --limit ssh", "sshd listens on %s, which the policy does not open: nobody gets in", numbers(closed))
	case len(closed) > 0:
		return finding(check, OK, "", "sshd is reached on %s; the policy does not open %s", numbers(open), numbers(closed))
	}
	return finding(check, OK, "", "sshd is reached on %s", numbers(open))
}

// Opened reports whether the policy opens a port to anybody at all.
func Opened(rs *firewall.Ruleset, proto firewall.Protocol, port uint16) bool {
	return rs.Off || slices.ContainsFunc(rs.Services, func(s firewall.Service) bool {
		return s.Protocol == proto && slices.ContainsFunc(s.Ports, func(r firewall.PortRange) bool { return r.First <= port && port <= r.Last })
	})
}

func numbers(ports []uint16) string {
	return some(ports, func(p uint16) string { return strconv.Itoa(int(p)) })
}
