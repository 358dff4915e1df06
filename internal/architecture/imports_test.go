// Package architecture holds the rules of the whole module that a reader should be able to rely on, as tests: which
// package may know which, what no source file contains, and that the documentation says what is there. Each rule carries
// the sentence that says why; whoever needs an exception writes it down here, with its reason.
//
// It has only tests, and no other package imports it.
package architecture

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/platformd/platformd"

// goPackage is what "go list -deps -json" says of a package, with our own import paths made relative to the module.
type goPackage struct {
	ImportPath string
	Standard   bool
	Module     *struct{ Path string }
	Imports    []string
	Deps       []string
}

func (p *goPackage) ours() bool { return p.Module != nil && p.Module.Path == module }

// graph is every package that the module's programs and helpers need, by import path.
func graph(t *testing.T) map[string]*goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Module,Imports,Deps", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]*goPackage{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		p := &goPackage{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		p.ImportPath = short(p.ImportPath)
		for _, list := range [][]string{p.Imports, p.Deps} {
			for i := range list {
				list[i] = short(list[i])
			}
		}
		pkgs[p.ImportPath] = p
	}
	if len(pkgs) < 100 {
		t.Fatalf("go list knows only %d packages", len(pkgs))
	}
	return pkgs
}

// short makes our own import paths relative; what the standard library calls internal gets a name of its own.
func short(importPath string) string {
	if strings.HasPrefix(importPath, "internal/") {
		return "std/" + importPath
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// matches reports whether an import path is one of the patterns; "x/..." is x and everything below.
func matches(importPath string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if base, ok := strings.CutSuffix(p, "/..."); ok {
			return importPath == base || strings.HasPrefix(importPath, base+"/")
		}
		return importPath == p
	})
}

// Groups of packages that rules speak of.
var (
	domain = []string{"firewall", "firewall/ranges", "firewall/feeds", "firewall/geo", "ratelimit", "apps"}
	// web is the proxy: a domain too, of which net/http is the language.
	web = []string{"proxy/..."}
	// drivers touch the kernel, the network or a foreign file format.
	drivers = []string{"firewall/nft", "firewall/iptables", "firewall/conntrack", "firewall/nflog", "firewall/feeds/fetch", "firewall/geo/mmdb", "proxy/waf/coraza", "apps/docker", "apps/apparmor"}
	// forTests are imported by tests alone.
	forTests = []string{"firewall/conformance", "internal/certs/pebbletest", "internal/nstest/...", "internal/sqlite/sqlitetest", "proxy/proxytest", "scripts/..."}
)

// TestDependencies: what a package may not need, not even through others.
func TestDependencies(t *testing.T) {
	pkgs := graph(t)
	for _, r := range []struct {
		of, not []string
		except  []string // of the packages in not
		why     string
		but     []string // of the packages in of
	}{
		{of: domain, not: append([]string{"internal/...", "cmd/...", "os/exec", "net/http", "log/slog", "database/sql"}, drivers...),
			why: "a domain package is a pure library: it decides, and what it decides can be tested without a kernel, a daemon or a clock"},
		{of: web, not: append([]string{"internal/...", "cmd/...", "firewall/...", "os/exec", "database/sql"}, drivers...),
			why: "the proxy runs in a process without privileges, and knows what it is told; what it needs of others is an interface of its own",
			but: []string{"proxy/waf/coraza"}}, // a driver, of whose library a part that the rules do not use can run programs; the worker cannot
		{of: []string{"apps"}, not: []string{"firewall/...", "proxy/..."}, except: []string{"proxy/field"},
			why: "what an app means for the firewall and the proxy is written in internal/host"},
		{of: []string{"apps/compose"}, not: append([]string{"internal/...", "cmd/...", "firewall/...", "database/sql"}, drivers...),
			why: "it turns one text into another, in the process of whoever imports it"},
		{of: []string{"ratelimit"}, not: []string{"firewall/..."},
			why: "a limit is a leaf: the kernel's meters and the proxy mean the same by it"},
		{of: drivers, not: []string{"internal/...", "cmd/...", "database/sql"},
			why: "a driver knows its domain and its library; who uses it, and where anything is stored, is none of its business"},
		{of: []string{"internal/host"}, not: append([]string{"internal/api/...", "internal/daemon", "internal/activity"}, drivers...),
			why: "Compile is pure: the same document and the same facts mean the same on every machine"},
		{of: []string{"internal/state", "internal/reconcile", "internal/document", "internal/health"},
			not: []string{"internal/api/...", "internal/daemon", "internal/worker", "internal/activity", "internal/host"},
			why: "nothing at or below the state knows whether a wish came from a person, a file or a feed"},
		{of: []string{"internal/activity", "internal/bans"}, not: append([]string{"internal/api/...", "internal/daemon", "internal/state", "net/http"}, drivers...),
			why: "they keep books; who reads them and who acts on them is told by whoever made them"},
		{of: []string{"internal/certs"}, not: append([]string{"internal/api/...", "internal/daemon", "internal/worker", "internal/dns", "internal/certs/issue",
			"golang.org/x/crypto/acme/..."}, drivers...),
			why: "it keeps certificates and decides when to ask; talking to a CA reads what strangers answer, and that is the worker's"},
		{of: []string{"cmd/platformctl"}, not: append([]string{"internal/daemon", "internal/worker", "internal/sqlite/...", "internal/reconcile", "internal/host", "database/sql", "os/exec"}, drivers...),
			why: "platformctl reaches the daemon only through the API, so that what it can do, any client can"},
		{of: []string{"cmd/..."}, not: append([]string{"testing"}, forTests...),
			why: "no program carries test code"},
	} {
		for _, p := range pkgs {
			if !matches(p.ImportPath, r.of...) || matches(p.ImportPath, r.but...) {
				continue
			}
			for _, d := range p.Deps {
				if matches(d, r.not...) && !matches(d, r.except...) && d != p.ImportPath {
					t.Errorf("%s needs %s%s.\n\tWhy not: %s", p.ImportPath, d, through(pkgs, p, d), r.why)
				}
			}
		}
	}
}

// through says by which direct import p comes to need d.
func through(pkgs map[string]*goPackage, p *goPackage, d string) string {
	for _, i := range p.Imports {
		if i == d {
			return ""
		}
		if q := pkgs[i]; q != nil && slices.Contains(q.Deps, d) {
			return " (through " + i + ")"
		}
	}
	return ""
}

// TestOnlyThese: packages that only few may import directly.
func TestOnlyThese(t *testing.T) {
	pkgs := graph(t)
	roots := []string{"cmd/platformd", "internal/daemon", "internal/worker"}
	for _, r := range []struct {
		pkg []string
		by  []string
		why string
	}{
		{drivers, append(append([]string{}, roots...), forTests...),
			"only the composition roots know which drivers there are: the daemon, the worker, and the program that hands the daemon its drivers"},
		{[]string{"firewall/feeds/fetch", "firewall/geo/mmdb"}, append([]string{"internal/worker"}, forTests...),
			"what parses bytes from outside runs in the worker, which has nothing to lose"},
		{[]string{"internal/certs/issue", "internal/dns"}, append([]string{"internal/worker", "internal/certs/issue"}, forTests...),
			"what a CA or a DNS provider answers is read in the worker, which has nothing to lose"},
		{[]string{"internal/daemon"}, append([]string{"cmd/platformd"}, forTests...), "the daemon is the top: nothing is built on it"},
		{[]string{"internal/host"}, append([]string{"internal/daemon"}, forTests...), "where features meet is the daemon's to ask, and nobody else's"},
		{[]string{"os/exec"}, append([]string{
			"cmd/platformd",     // starts the outside guard
			"apps/apparmor",     // apparmor_parser, the only compiler of profiles
			"firewall/iptables", // iptables-save, iptables-restore and ipset have no other stable interface
			"internal/dns",      // an operator's program that writes records, in the worker
			"internal/daemon",   // journalctl, and sshd for its settings
			"internal/worker",   // itself, without privileges
		}, forTests...), "each program that is run is a decision: an argument list, never a shell, and named here with what it is for"},
		{[]string{"unsafe"}, []string{"internal/worker", "firewall/...", "scripts/bench"}, "Landlock and netlink structures and sendmmsg have no safe binding; nothing else needs it"},
		{[]string{"math/rand"}, nil, "math/rand/v2 for jitter, crypto/rand for everything else"},
		{[]string{"log"}, nil, "logs are structured (log/slog), and whoever logs was handed the logger"},
		{[]string{"C"}, nil, "the programs are built without cgo, so that they run on every distribution"},

		{[]string{"github.com/corazawaf/..."}, []string{"proxy/waf/coraza"}, "library types never leave their driver, and only the worker loads three hundred rules"},
		{[]string{"github.com/quic-go/quic-go/..."}, []string{"proxy/..."}, "library types never leave the proxy"},
		{[]string{"github.com/klauspost/compress/...", "github.com/andybalholm/brotli/..."}, []string{"proxy/compress"}, "library types never leave the package that needs them"},
		{[]string{"github.com/maypok86/otter/..."}, []string{"proxy/cache", "proxy/static"}, "library types never leave the package that needs them"},
		{[]string{"github.com/prometheus/..."}, []string{"proxy/metrics"}, "library types never leave the package that needs them"},
		{[]string{"github.com/pires/go-proxyproto/..."}, []string{"proxy/announce"}, "library types never leave the package that needs them"},
		{[]string{"golang.org/x/crypto/acme/..."}, []string{"internal/certs/issue"}, "one package speaks ACME, and it runs in the worker"},
		{[]string{"github.com/libdns/...", "github.com/miekg/dns"}, []string{"internal/dns", "internal/resolver"}, "library types never leave their driver"},
		{[]string{"software.sslmate.com/src/go-pkcs12/..."}, []string{"internal/certs"}, "library types never leave their driver"},
		{[]string{"github.com/google/nftables/..."}, []string{"firewall/nft", "scripts/bench"}, "library types never leave their driver; the bench measures the bare library as a peer"},
		{[]string{"github.com/coreos/go-iptables/..."}, []string{"firewall/iptables"}, "library types never leave their driver"},
		{[]string{"github.com/florianl/go-nflog/..."}, append([]string{"firewall/nflog"}, forTests...), "library types never leave their driver"},
		{[]string{"github.com/ti-mo/conntrack/..."}, []string{"firewall/conntrack"}, "library types never leave their driver"},
		{[]string{"github.com/oschwald/maxminddb-golang/..."}, []string{"firewall/geo/mmdb"}, "library types never leave their driver"},
		{[]string{"github.com/docker/...", "github.com/moby/...", "github.com/containerd/..."}, append([]string{"apps/docker"}, forTests...), "library types never leave their driver"},
		{[]string{"apps/compose"}, append([]string{"cmd/platform-compose"}, forTests...), "a compose file is read in a process of the user's, by a library that takes longer to come up than most commands of platformctl; the daemon only takes manifests"},
		{[]string{"github.com/compose-spec/...", "go.yaml.in/yaml/..."}, []string{"apps/compose"}, "library types never leave their driver"},
		{[]string{"github.com/robfig/cron/..."}, []string{"apps"}, "when a schedule is due is said in one place"},
		{[]string{"github.com/goccy/go-yaml/..."}, append([]string{"internal/document"}, forTests...), "one place reads and writes documents, and it says the line of every mistake"},
		{[]string{"modernc.org/sqlite/..."}, []string{"internal/sqlite/..."}, "how a database is opened, locked, recovered and written durably is decided once"},
		{[]string{"github.com/danielgtaylor/huma/..."}, append([]string{"internal/api/..."}, forTests...), "what the API looks like on the wire is described in one place"},
		{[]string{"github.com/spf13/cobra/..."}, append([]string{"cmd/..."}, forTests...), "commands belong to programs"},
		{[]string{"github.com/vishvananda/netns"}, append([]string{"internal/doctor/probe"}, forTests...), "only tests, and the probe of doctor, make network namespaces"},
	} {
		for _, p := range pkgs {
			if !p.ours() || matches(p.ImportPath, r.by...) {
				continue
			}
			for _, i := range p.Imports {
				if matches(i, r.pkg...) && !sameTree(p.ImportPath, i) {
					t.Errorf("%s imports %s; only %s may.\n\tWhy: %s", p.ImportPath, i, strings.Join(r.by, ", "), r.why)
				}
			}
		}
	}
}

// sameTree reports whether one of two of our packages is below the other.
func sameTree(a, b string) bool { return a == b || strings.HasPrefix(a, b+"/") }

// TestDomainLibraries: domain packages need the standard library and netipx, and nothing else of others.
func TestDomainLibraries(t *testing.T) {
	pkgs := graph(t)
	for _, name := range domain {
		p := pkgs[name]
		if p == nil {
			t.Errorf("there is no package %s: correct this list", name)
			continue
		}
		for _, d := range p.Deps {
			if q := pkgs[d]; q != nil && !q.Standard && !q.ours() && !matches(d, "go4.org/netipx", "github.com/robfig/cron/v3") {
				t.Errorf("%s needs %s.\n\tWhy not: a domain package imports the standard library and small libraries of values", name, d)
			}
		}
	}
}

// TestNames: words that say nothing are no package names.
func TestNames(t *testing.T) {
	for _, p := range graph(t) {
		if p.ours() && slices.Contains([]string{"util", "utils", "common", "helpers", "types", "misc", "manager", "base", "lib", "shared"}, path.Base(p.ImportPath)) {
			t.Errorf("package %s: name it after what it is for", p.ImportPath)
		}
	}
}

// TestTopLevel: the top level is the list of features, as the user wants it.
func TestTopLevel(t *testing.T) {
	want := strings.Fields("cmd firewall ratelimit apps proxy mail backup ui scripts packaging internal docs go.mod go.sum Makefile README.md LICENSE .git .gitignore .ci .cache bin")
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(want, e.Name()) {
			t.Errorf("%s: has no place at the top level", e.Name())
		}
	}
}
