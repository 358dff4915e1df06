package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/platformd/platformd/internal/certs/order"
)

func addrs(in ...string) (out []netip.Addr) {
	for _, s := range in {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// text is changes and odd records in one line.
func text(changes []order.Change, odd []order.Record) string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s%s %s %s", map[bool]string{true: "-", false: "+"}[c.Remove], c.Record.Name, c.Record.Type, c.Record.Value))
	}
	for _, r := range odd {
		out = append(out, fmt.Sprintf("?%s %s %s", r.Name, r.Type, r.Value))
	}
	return strings.Join(out, ", ")
}

func TestDiff(t *testing.T) {
	rec := func(s string) order.Record {
		f := strings.SplitN(s, " ", 3)
		return order.Record{Name: f[0], Type: f[1], Value: f[2]}
	}
	for _, tt := range []struct {
		name    string
		have    []string
		replace bool
		want    string
	}{
		{"nothing there", nil, false, "+a.test A 198.51.100.1, +a.test AAAA 2001:db8::1"},
		{"all there", []string{"a.test A 198.51.100.1", "a.test aaaa 2001:db8::1", "a.test TXT x", "b.test A 192.0.2.9"}, false, ""},
		{"elsewhere too", []string{"a.test A 192.0.2.9", "a.test A 198.51.100.1"}, false, "+a.test AAAA 2001:db8::1, ?a.test A 192.0.2.9"},
		{"replaced", []string{"a.test A 192.0.2.9"}, true, "-a.test A 192.0.2.9, +a.test A 198.51.100.1, +a.test AAAA 2001:db8::1, ?a.test A 192.0.2.9"},
		{"an alias", []string{"a.test CNAME old.test."}, true, "-a.test CNAME old.test., +a.test A 198.51.100.1, +a.test AAAA 2001:db8::1, ?a.test CNAME old.test."},
		{"CAA of another CA", []string{"a.test A 198.51.100.1", "a.test AAAA 2001:db8::1", `a.test CAA 0 issue "other.test"`}, true, `+a.test CAA 0 issue "ca.test"`},
		{"CAA of ours", []string{"a.test A 198.51.100.1", "a.test AAAA 2001:db8::1", `a.test CAA 0 issue ca.test`}, false, ""},
	} {
		var have []order.Record
		for _, h := range tt.have {
			have = append(have, rec(h))
		}
		if got := text(Diff(have, Want("a.test", addrs("198.51.100.1", "2001:db8::1"), []string{"ca.test"}), tt.replace)); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
	got := text(Remove([]order.Record{rec("a.test A 198.51.100.1"), rec("a.test A 192.0.2.9"), rec("b.test A 198.51.100.1"), rec("a.test TXT 198.51.100.1")}, "a.test", addrs("198.51.100.1")), nil)
	if got != "-a.test A 198.51.100.1" {
		t.Errorf("remove: got %s", got)
	}
}

func TestPublic(t *testing.T) {
	got := Public(addrs("10.0.0.1", "198.51.100.7", "100.64.1.1", "::1", "fe80::1", "fd00::1", "2001:db8::1", "::ffff:198.51.100.7", "127.0.0.1"))
	if fmt.Sprint(got) != "[198.51.100.7 2001:db8::1]" {
		t.Errorf("got %v", got)
	}
}
