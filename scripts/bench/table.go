package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// row is one line of a table; empty cells are printed as such.
type row struct{ What, Ours, Peer, Ratio, Target, Met string }

// line is what a section tells its parent: a row or a note.
type line struct {
	Row  row
	Note string
}

func (r row) markdown() string {
	return "| " + strings.Join([]string{r.What, r.Ours, r.Peer, r.Ratio, r.Target, r.Met}, " | ") + " |"
}

func (b *bench) row(r row) { _ = b.out.Encode(line{Row: r}) }

func (b *bench) note(format string, args ...any) {
	_ = b.out.Encode(line{Note: fmt.Sprintf(format, args...)})
}

// missing is the row of something that cannot be measured here.
func (b *bench) missing(what string, why error) {
	b.row(row{What: what, Ours: "not available here: " + strings.ReplaceAll(why.Error(), "\n", " ")})
}

func met(ok bool) string {
	if ok {
		return "yes"
	}
	return "**no**"
}

// number is what samples are made of.
type number interface{ ~int64 | ~float64 | ~int }

func median[T number](in []T) T { return quantile(in, 0.5) }

// quantile is the smallest sample that at least q of all do not exceed.
func quantile[T number](in []T, q float64) T {
	if len(in) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(in))
	return s[max(0, min(len(s)-1, int(math.Ceil(q*float64(len(s))))-1))]
}

// ratios divides sample by sample.
func ratios[T number](a, b []T) []float64 {
	out := make([]float64, 0, len(a))
	for i := range min(len(a), len(b)) {
		out = append(out, float64(a[i])/float64(b[i]))
	}
	return out
}

func ms(d time.Duration) string {
	switch v := float64(d) / 1e6; {
	case v >= 100:
		return fmt.Sprintf("%.0f ms", v)
	case v >= 10:
		return fmt.Sprintf("%.1f ms", v)
	default:
		return fmt.Sprintf("%.2f ms", v)
	}
}

func mb(kib int) string { return fmt.Sprintf("%.1f MB", float64(kib)/1024) }

func times(r float64) string { return fmt.Sprintf("%.2f", r) }

// printHeader says on what the numbers were made.
func printHeader(w io.Writer, quick bool) {
	var u unix.Utsname
	_ = unix.Uname(&u)
	fmt.Fprintf(w, "# Benchmarks\n\nPrinted by `make bench` on %s: kernel %s, %d CPUs (%s), %s.\n", time.Now().UTC().Format(time.DateOnly),
		unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), cpuModel(), runtime.Version())
	fmt.Fprintf(w, "Peers: %s.\n", strings.Join(versions(), ", "))
	fmt.Fprintf(w, "\nMedians of five rounds; a ratio is the median of the ratios within a round. CPU time is user and system time of the process and of those\n"+
		"it waited for. 1 MB is 1,048,576 bytes. Load average at the start: %s.\n", loadAverage())
	if quick {
		fmt.Fprint(w, "\n**Quick run: one round, small samples.**\n")
	}
}

func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:3], " ")
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(data), "\n") {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown model"
}

func versions() []string {
	var out []string
	for _, c := range [][]string{{"nft", "--version"}, {"ipset", "--version"}, {"iptables", "--version"}, {"firewall-cmd", "--version"}} {
		path, err := exec.LookPath(c[0])
		if err != nil {
			out = append(out, c[0]+": not installed")
			continue
		}
		if c[0] == "firewall-cmd" { // asks the daemon, which does not run yet
			out = append(out, "firewalld "+packageVersion("firewalld"))
			continue
		}
		text, _ := exec.Command(path, c[1:]...).Output()
		first, _, _ := strings.Cut(string(text), "\n")
		out = append(out, strings.TrimSpace(first))
	}
	return append(out, "google/nftables v0.3.0")
}

func packageVersion(name string) string {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return "unknown"
	}
	return string(out)
}
