package nft

import (
	"fmt"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// Document writes the table for a ruleset in nft(8) syntax, with a comment for each chain: for people, and for
// "nft --check". Sets are shown by what they are, not by what is in them, except the map of services.
func Document(rs *firewall.Ruleset) string {
	s := newSpec(rs)
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", tableName)
	for _, c := range s.counters {
		fmt.Fprintf(&b, "\tcounter %s { }\n", c)
	}
	for _, x := range s.sets {
		b.WriteString("\n" + x.declaration())
	}
	for _, c := range s.chains {
		fmt.Fprintf(&b, "\n\t# %s\n\tchain %s {\n", c.doc, c.name)
		if c.hook != nil {
			fmt.Fprintf(&b, "\t\ttype filter hook %s priority %d; policy accept;\n", c.hook.name, c.hook.priority)
		}
		for _, r := range c.rules {
			fmt.Fprintf(&b, "\t\t%s\n", r.text)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// declaration is the set in nft(8) syntax, without the number of its members, which is not part of what it is.
func (x *set) declaration() string {
	word := "set"
	if x.kind == kindServices {
		word = "map"
	}
	var lines []string
	for _, l := range strings.Split(x.text(), "; ") {
		if !strings.HasSuffix(l, " ranges") && !strings.HasSuffix(l, " sources") && !strings.HasSuffix(l, " entries") {
			lines = append(lines, "\t\t"+l+"\n")
		}
	}
	if len(x.services) > 0 {
		var entries []string
		for _, p := range x.services {
			entries = append(entries, "\t\t\t"+p.String())
		}
		lines = append(lines, "\t\telements = {\n"+strings.Join(entries, ",\n")+"\n\t\t}\n")
	}
	return fmt.Sprintf("\t%s %s {\n%s\t}\n", word, x.name, strings.Join(lines, ""))
}
