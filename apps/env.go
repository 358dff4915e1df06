package apps

import (
	"maps"
	"slices"
	"strings"
)

// Variables are the names that ${...} may have in this manifest.
func (m *Manifest) Variables() []string {
	out := []string{"name", "domain", "origin"}
	for _, s := range m.Secrets {
		out = append(out, "secret."+s.Name)
	}
	for _, kind := range slices.Sorted(maps.Keys(m.Addons)) {
		for _, v := range addonVariables(kind) {
			out = append(out, kind+"."+v)
		}
	}
	return out
}

// variablesIn lists what a text refers to by ${...}. $$ is a dollar sign.
func variablesIn(text string) []string {
	var out []string
	Expand(text, func(name string) string {
		out = append(out, name)
		return ""
	})
	return out
}

// Expand puts values in the place of ${name}, and one dollar sign in that of two. Anything else stays as it is.
func Expand(text string, value func(name string) string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		switch rest := text[i+1:]; rest[0] {
		case '$':
			b.WriteByte('$')
			text = rest[1:]
		case '{':
			name, after, whole := strings.Cut(rest[1:], "}")
			if !whole {
				b.WriteString(text[i:])
				return b.String()
			}
			b.WriteString(value(name))
			text = after
		default:
			b.WriteByte('$')
			text = rest
		}
	}
}
