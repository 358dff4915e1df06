package iptables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// table is the filter table of one family, as iptables-save prints it or as it should be.
type table struct {
	chains []*chain
}

type chain struct {
	name  string
	rules []rule
}

// rule is a line of iptables-save in tokens, without "-A CHAIN". id is its comment: unique in the chain where it is ours.
type rule struct {
	id             string
	args           []string
	packets, bytes uint64
}

func (t *table) chain(name string) *chain {
	for _, c := range t.chains {
		if c.name == name {
			return c
		}
	}
	return nil
}

// target is where the rule jumps or goes to.
func (r rule) target() string {
	for i := len(r.args) - 2; i >= 0; i-- {
		if r.args[i] == "-j" || r.args[i] == "-g" {
			return r.args[i+1]
		}
	}
	return ""
}

// plainJump reports whether every packet takes the rule: no condition, a comment at most.
func (r rule) plainJump() bool {
	args := r.args
	if len(args) == 6 && args[0] == "-m" && args[1] == "comment" {
		args = args[4:]
	}
	return len(args) == 2 && args[0] == "-j"
}

// reason is why the rule drops packets; ok is false where it does not.
func (r rule) reason() (reason firewall.Reason, ok bool) {
	s, ok := strings.CutPrefix(r.id, firewall.LogPrefix)
	return firewall.Reason(s), ok && r.target() == "DROP"
}

// String is the line of iptables-save, without "-A CHAIN".
func (r rule) String() string {
	var b strings.Builder
	for i, a := range r.args {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quote(a))
	}
	return b.String()
}

// quote writes a token as iptables-restore reads it.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \"'\\\t") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// parseSave reads the output of iptables-save for one table, with or without counters.
func parseSave(out []byte) (*table, error) {
	t := &table{}
	for line := range strings.SplitSeq(string(out), "\n") {
		switch {
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			t.chains = append(t.chains, &chain{name: name})
		case strings.HasPrefix(line, "-A "), strings.HasPrefix(line, "["):
			if err := t.parseRule(line); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func (t *table) parseRule(line string) error {
	var r rule
	tokens, err := tokenize(line)
	if err != nil {
		return fmt.Errorf("read rule %q: %w", line, err)
	}
	if len(tokens) > 0 && strings.HasPrefix(tokens[0], "[") {
		p, b, _ := strings.Cut(strings.Trim(tokens[0], "[]"), ":")
		r.packets, _ = strconv.ParseUint(p, 10, 64)
		r.bytes, _ = strconv.ParseUint(b, 10, 64)
		tokens = tokens[1:]
	}
	if len(tokens) < 2 || tokens[0] != "-A" {
		return fmt.Errorf("read rule %q: no chain", line)
	}
	c := t.chain(tokens[1])
	if c == nil {
		return fmt.Errorf("read rule %q: chain %s was not announced", line, tokens[1])
	}
	r.args = tokens[2:]
	if i := slices.Index(r.args, "--comment"); i >= 0 && i+1 < len(r.args) {
		r.id = r.args[i+1]
	}
	c.rules = append(c.rules, r)
	return nil
}

// tokenize splits a line at blanks outside of double quotes; a backslash in quotes takes the next character as it is.
func tokenize(line string) ([]string, error) {
	var out []string
	var cur []byte
	quoted, open := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\' && i+1 < len(line):
			i++
			cur = append(cur, line[i])
		case c == '"':
			quoted, open = !quoted, true
		case c == ' ' && !quoted:
			if open {
				out = append(out, string(cur))
			}
			cur, open = cur[:0], false
		default:
			cur, open = append(cur, c), true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if open {
		out = append(out, string(cur))
	}
	return out, nil
}
