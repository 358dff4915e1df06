package conformance

import (
	"regexp"
	"strings"
	"testing"

	"github.com/platformd/platformd/internal/nstest"
)

// NftTampers are what other programs do to table inet platform.
func NftTampers() []Tamper {
	run := func(name string, scripts ...string) Tamper {
		return Tamper{Name: name, Do: func(t testing.TB, tp *nstest.Topology) {
			for _, s := range scripts {
				tp.Nft(t, s+"\n")
			}
		}}
	}
	const table = "inet platform "
	return []Tamper{
		{Name: "last rule of each chain deleted", Do: func(t testing.TB, tp *nstest.Topology) {
			chain, handle := "", ""
			flush := func() {
				if chain != "" && handle != "" && chain != "fwd" { // a word of nft's own grammar, which the tool cannot name
					tp.Nft(t, "delete rule "+table+chain+" handle "+handle+"\n")
				}
				chain, handle = "", ""
			}
			for _, line := range strings.Split(tp.Exec(t, "", "nft", "-a", "-t", "list", "table", "inet", "platform"), "\n") {
				m := handleOf.FindStringSubmatch(line)
				switch f := strings.Fields(line); {
				case len(f) > 1 && (f[0] == "chain" || f[0] == "set" || f[0] == "map" || f[0] == "counter" || f[0] == "table"):
					flush()
					if f[0] == "chain" {
						chain = f[1]
					}
				case m != nil && chain != "":
					handle = m[1]
				}
			}
			flush()
		}},
		run("rule inserted", "insert rule "+table+"pre accept"),
		run("chain flushed", "flush chain "+table+"pre"),
		run("chains flushed", "flush table "+table),
		run("table deleted", "delete table "+table),
		run("element deleted", "delete element "+table+"bans4 { 192.0.2.67 }"),
		run("set flushed", "flush set "+table+"bans4"),
		run("element added", "add element "+table+"bans4 { 192.0.2.130 }"),
		run("foreign chain in our table", "add chain "+table+"foreign"),
		run("foreign set in our table", "add set "+table+"foreign { type ipv4_addr; }"),
	}
}

var handleOf = regexp.MustCompile(`# handle (\d+)$`)
