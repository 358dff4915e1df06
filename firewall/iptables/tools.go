package iptables

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"github.com/platformd/platformd/firewall"
)

// lockWait is how many seconds a command waits for the lock of the tables, which another program may hold.
const lockWait = 10

// tools are the programs of one family.
type tools struct {
	v6           bool
	saveP, loadP string               // iptables-save, iptables-restore
	tables       *goiptables.IPTables // for checking and hooking; it has no restore
}

// find locates the programs, and says everything that is missing.
func (d *Driver) find(variant string) error {
	suffix, ok := map[string]string{"": "", "nft": "-nft", "legacy": "-legacy"}[variant]
	if !ok {
		return fmt.Errorf("variant %q is unknown; use nft, legacy, or leave it empty", variant)
	}
	var errs []error
	look := func(name, pkg string) string {
		p, err := exec.LookPath(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("program %s is missing; install the package %s", name, pkg))
		}
		return p
	}
	d.ipset = look("ipset", "ipset")
	for i, base := range []string{"iptables", "ip6tables"} {
		base += suffix
		t := &tools{v6: i == 1, saveP: look(base+"-save", "iptables"), loadP: look(base+"-restore", "iptables")}
		path := look(base, "iptables")
		d.tools[i] = t
		if len(errs) > 0 {
			continue
		}
		proto := goiptables.ProtocolIPv4
		if t.v6 {
			proto = goiptables.ProtocolIPv6
		}
		var err error
		if t.tables, err = goiptables.New(goiptables.IPFamily(proto), goiptables.Timeout(lockWait), goiptables.Path(path)); err != nil {
			errs = append(errs, fmt.Errorf("ask %s for its version: %w", base, err))
		}
	}
	return errors.Join(errs...)
}

// run runs a program with an argument list; stdin is written by feed where it is not nil.
func run(ctx context.Context, feed func(io.Writer) error, path string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if feed == nil {
		err := explain(cmd.Run(), path, &stderr)
		return stdout.Bytes(), err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	fed := feed(in)
	in.Close()
	err = explain(cmd.Wait(), path, &stderr)
	if err == nil { // the program's own words are better than "broken pipe"
		err = fed
	}
	return stdout.Bytes(), err
}

func explain(err error, path string, stderr *bytes.Buffer) error {
	if err == nil {
		return nil
	}
	said := strings.Join(strings.Fields(stderr.String()), " ")
	if len(said) > 400 {
		said = said[:400] + " ..."
	}
	hint := ""
	for _, h := range [][2]string{
		{"Couldn't load match", "; the kernel or the tools lack that match: install the full kernel modules (linux-image, not a cloud or minimal one) and the package iptables"},
		{"No chain/target/match", "; the kernel may lack one of xt_set, xt_conntrack, xt_hashlimit, xt_connlimit, xt_NFLOG: install the full kernel modules"},
		{"Extension", "; the kernel lacks that extension: install the full kernel modules"},
		{"can't initialize", "; the kernel lacks that table: install the full kernel modules"},
		{"Cannot open session to kernel", "; the kernel lacks ip_set: install the full kernel modules"},
	} {
		if strings.Contains(said, h[0]) {
			hint = h[1]
			break
		}
	}
	return fmt.Errorf("%s: %w: %s%s", path, err, said, hint)
}

// save reads the filter table. A kernel without IPv6 or a table that nobody has used yet is an empty one.
func (t *tools) save(ctx context.Context, counters bool) (*table, error) {
	args := []string{"-t", "filter"}
	if counters {
		args = append(args, "-c")
	}
	out, err := run(ctx, nil, t.saveP, args...)
	if err != nil {
		return nil, err
	}
	return parseSave(out)
}

// restore commits lines to the filter table in one go; chains that it does not name stay as they are.
func (t *tools) restore(ctx context.Context, lines []string) error {
	_, err := run(ctx, func(w io.Writer) error {
		_, err := io.WriteString(w, "*filter\n"+strings.Join(lines, "\n")+"\nCOMMIT\n")
		return err
	}, t.loadP, "--noflush", "-w", fmt.Sprint(lockWait))
	return err
}

func ours(chain string) bool { return chain == chainInput || strings.HasPrefix(chain, chainPrefix) }

func sortCounters(cs []firewall.Counter) {
	slices.SortFunc(cs, func(a, b firewall.Counter) int { return cmp.Compare(a.Reason, b.Reason) })
}
