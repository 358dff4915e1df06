package iptables_test

import (
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall/iptables"
)

// What is missing is named all at once, with the package to install.
func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := iptables.New(iptables.Config{})
	if err == nil {
		t.Fatal("without any program: got no error")
	}
	for _, want := range []string{"iptables is missing", "ip6tables-restore is missing", "ipset is missing", "install the package ipset", "install the package iptables"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to say %q", err, want)
		}
	}
	if _, err := iptables.New(iptables.Config{Variant: "bpf"}); err == nil || !strings.Contains(err.Error(), `"bpf"`) {
		t.Errorf("unknown variant: got %v, want an error that names it", err)
	}
}
