// Command bench measures the firewall and the proxy beside their peers and prints markdown tables: what, ours, the peer's, the ratio, the
// target and whether it is met. It is what `make bench` runs; docs/benchmarks.md is its output.
//
// The model in words. The parent writes deterministic input files and runs each section as a process in network, mount
// and process namespaces of its own, whose rows it prints as they come. A section measures ours and the peers in turn, in
// rounds, and quotes medians; a ratio is the median of the ratios within a round, so that a machine that is busy for a
// while is busy for both. CPU time is what the kernel charges to a process and those it waited for, system calls included.
//
// It never touches the network namespace in which it was started, and leaves nothing behind: everything lives in the
// namespaces and in one temporary folder. The product never imports it.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// section is one table.
type section struct {
	name, title string
	limit       time.Duration
	run         func(b *bench) error
}

func sections() []section {
	return []section{
		{"load", "Loading 500,000 IPv4 ranges", 8 * time.Minute, loadSection},
		{"daemon", "Feeds and countries through the daemon, and the idle daemon", 6 * time.Minute, daemonSection},
		{"block", "From `platformctl block` to packets refused, 500,000 ranges loaded", 5 * time.Minute, blockSection},
		{"observe", "Reading back, 500,000 ranges loaded", 4 * time.Minute, observeSection},
		{"packet", "Cost per packet", 5 * time.Minute, packetSection},
		{"leak", "Leaked packets during updates", 2 * time.Minute, leakSection},
		{"apps", "Apps", 12 * time.Minute, appsSection},
		{"proxy", "The HTTPS proxy beside nginx, HAProxy, Caddy and httputil.ReverseProxy", 25 * time.Minute, proxySection},
	}
}

// bench is what a section works with, in its own namespaces.
type bench struct {
	dir    string // of the input files; shared by all sections
	quick  bool
	rounds int
	out    *json.Encoder
}

func main() {
	if len(os.Args) > 1 {
		if f, ok := children()[os.Args[1]]; ok {
			if err := isolated(); err != nil {
				fatal(err)
			}
			if err := f(os.Args[2:]); err != nil {
				fatal(err)
			}
			return
		}
	}
	run := flag.String("run", "", "run only the sections whose name matches this expression")
	quick := flag.Bool("quick", false, "fewer rounds and smaller samples, for a first look")
	out := flag.String("out", "", "file that gets a copy of what is printed, once all sections have finished")
	flag.Parse()
	which, err := regexp.Compile(*run)
	if err == nil {
		err = parent(which, *quick, *out)
	}
	if err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// children are the processes that the bench starts of itself; all of them refuse to run in the namespace of the parent.
func children() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"section": runSection, "apply": applyChild, "naive": naiveChild, "dump": dumpChild, "observe": observeChild, "flood": floodChild,
		"edge": edgeChild, "reverseproxy": reverseProxyChild,
	}
}

func parent(which *regexp.Regexp, quick bool, copyTo string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root, to make network namespaces of its own: sudo make bench")
	}
	dir, err := os.MkdirTemp("", "platform-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the daemon's unprivileged worker reads feeds here
		return err
	}
	progress("building platformd and platformctl")
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+"/", "./cmd/platformd", "./cmd/platformctl")
	build.Stderr = os.Stderr
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile does it; workers refuse to start otherwise
	if err := build.Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if which.MatchString("proxy") {
		if err := buildCaddy(dir); err != nil {
			progress("%v", err)
		}
	}
	if firewall := slices.ContainsFunc(sections(), func(s section) bool { return s.name != "proxy" && s.name != "apps" && which.MatchString(s.name) }); firewall {
		progress("writing input files")
		if err := writeInputs(dir); err != nil {
			return fmt.Errorf("write inputs: %w", err)
		}
	}
	var report bytes.Buffer
	out := io.MultiWriter(os.Stdout, &report)
	printHeader(out, quick)
	failed := 0
	for _, s := range sections() {
		if !which.MatchString(s.name) {
			continue
		}
		fmt.Fprintf(out, "\n## %s\n\n| what | ours | peer | ratio | target | met |\n|---|---|---|---|---|---|\n", s.title)
		start := time.Now()
		if err := runIsolated(s, dir, quick, out); err != nil {
			fmt.Fprintf(out, "\n%s: did not finish: %v\n", s.name, err)
			failed++
		}
		progress("%s took %v", s.name, time.Since(start).Round(time.Second))
	}
	if failed > 0 {
		return fmt.Errorf("%d sections did not finish", failed)
	}
	if copyTo == "" {
		return nil
	}
	return os.WriteFile(copyTo, report.Bytes(), 0o644)
}

// runIsolated runs a section in fresh namespaces and prints its rows, then its notes.
func runIsolated(s section, dir string, quick bool, w io.Writer) error {
	cmd, err := isolate(s.limit, "section", s.name, dir, fmt.Sprint(quick))
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := startIsolated(cmd); err != nil {
		return err
	}
	var notes []string
	for in := bufio.NewScanner(out); in.Scan(); {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			fmt.Fprintf(os.Stderr, "%s\n", in.Bytes())
			continue
		}
		if l.Note != "" {
			notes = append(notes, l.Note)
			continue
		}
		fmt.Fprintln(w, l.Row.markdown())
	}
	if len(notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, n := range notes {
		fmt.Fprintln(w, "* "+n)
	}
	return cmd.Wait()
}

func runSection(args []string) error {
	if err := ownMounts(); err != nil {
		return err
	}
	b := &bench{dir: args[1], quick: args[2] == "true", rounds: 5, out: json.NewEncoder(os.Stdout)}
	if b.quick {
		b.rounds = 1
	}
	for _, s := range sections() {
		if s.name == args[0] {
			return s.run(b)
		}
	}
	return fmt.Errorf("no section %q", args[0])
}

// progress is for the person who waits.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}
