package certs

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/pebbletest"
	"github.com/platformd/platformd/internal/state"
)

// nameServer runs knotd with the zone example.test, which takes updates that are signed with the key.
func nameServer(t *testing.T) (at, key string) {
	t.Helper()
	knotd, err := exec.LookPath("/usr/sbin/knotd")
	if err != nil {
		t.Fatalf("%v; install it with: make deps", err)
	}
	dir := t.TempDir()
	port := pebbletest.FreePort(t)
	at, key = fmt.Sprintf("127.0.0.1:%d", port), base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("zone", "$TTL 60\n@ SOA ns.example.test. admin.example.test. 1 60 60 600 60\n@ NS ns.example.test.\nns A 127.0.0.1\nwww A 127.0.0.1\n")
	conf := write("knot.conf", fmt.Sprintf(`
server:
    rundir: "%[1]s"
    listen: 127.0.0.1@%[2]d
database:
    storage: "%[1]s/db"
log:
  - target: stderr
    any: info
key:
  - id: updater
    algorithm: hmac-sha256
    secret: "%[3]s"
acl:
  - id: update
    key: updater
    action: [update, transfer]
zone:
  - domain: example.test
    storage: "%[1]s"
    file: zone
    acl: update
`, dir, port, key))
	cmd := exec.Command(knotd, "-c", conf)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for end := time.Now().Add(20 * time.Second); len(lookUp(at, "www.example.test", dns.TypeA)) == 0; <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the name server does not answer")
		}
	}
	return at, key
}

func lookUp(at, name string, kind uint16) []dns.RR {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), kind)
	resp, err := dns.Exchange(q, at)
	if err != nil {
		return nil
	}
	return resp.Answer
}

// dnsProgram is what an operator's program does: SERVER append|delete ZONE NAME TYPE VALUE, the key on standard input.
func dnsProgram(args []string) int {
	key, err := io.ReadAll(os.Stdin)
	if err != nil || len(args) != 6 {
		fmt.Fprintln(os.Stderr, "cannot read the key", err, args)
		return 1
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s. 60 IN %s %q", args[3], args[4], args[5]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m := new(dns.Msg)
	m.SetUpdate(args[2] + ".")
	if args[1] == "append" {
		m.Insert([]dns.RR{rr})
	} else {
		m.Remove([]dns.RR{rr})
	}
	m.SetTsig("updater.", dns.HmacSHA256, 300, time.Now().Unix())
	c := dns.Client{Net: "tcp", TsigSecret: map[string]string{"updater.": strings.TrimSpace(string(key))}}
	resp, _, err := c.Exchange(m, args[0])
	if err != nil || resp.Rcode != dns.RcodeSuccess {
		fmt.Fprintln(os.Stderr, "update:", err, resp)
		return 1
	}
	return 0
}

// A real name server, by dynamic updates and by an operator's program: wildcards, and names that nobody can reach.
func TestDNS01(t *testing.T) {
	at, key := nameServer(t)
	w := newWorldWith(t, pebbletest.Config{DNS: at})
	open, err := os.MkdirTemp("", "dns-program-") // the worker's user must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(open, "update")
	for path, text := range map[string][]byte{filepath.Join(open, "helper"): self, program: fmt.Appendf(nil, "#!/bin/sh\nexec %s/helper dns-program %s \"$@\"\n", open, at)} {
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []state.DNSProvider{
		{Name: "updates", Type: state.RFC2136, Zones: []string{"example.test"}, Secret: "key", Settings: map[string]string{"server": at, "key_name": "updater"}},
		{Name: "program", Type: state.ExecDNS, Zones: []string{"example.test"}, Secret: "key", Settings: map[string]string{"program": program}, Resolvers: []string{at}},
	} {
		t.Run(p.Type, func(t *testing.T) {
			h := newHost(t, []string{"*.example.test", "www.example.test"}, w.ca("pebble"))
			h.settings.DNS = []state.DNSProvider{p}
			if err := h.SetSecret(t.Context(), activity.Record{}, "key", Secret(key)); err != nil {
				t.Fatal(err)
			}
			h.settings.Challenges = []string{"tls-alpn-01"} // nothing answers there: only DNS can prove it
			for range 2 {
				h.pass()
				h.clock.add(time.Hour)
			}
			for _, n := range []string{"www.example.test", "any.example.test"} {
				if c := h.wantSource(n, "acme:pebble"); c.Name != "*.example.test" {
					t.Errorf("%s: got the certificate of %s", n, c.Name)
				}
			}
			if c := h.served("a.b.example.test"); c.Name != "" {
				t.Errorf("a wildcard was stretched: got the certificate of %s", c.Name)
			}
			if left := lookUp(at, "_acme-challenge.example.test", dns.TypeTXT); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			// A name of its own falls back to DNS where it cannot be reached otherwise.
			h.names = []string{"lonely.example.test"}
			h.pass()
			h.wantSource("lonely.example.test", "acme:pebble")
			if text := h.log.String() + fmt.Sprint(h.records, h.health.List()); strings.Contains(text, key) {
				t.Error("the key was written somewhere")
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		h := newHost(t, []string{"*.example.test"}, w.ca("pebble"))
		h.settings.DNS = []state.DNSProvider{{Name: "updates", Type: state.RFC2136, Zones: []string{"example.test"}, Secret: "key", Settings: map[string]string{"server": at, "key_name": "updater"}}}
		h.pass()
		if a := h.failure("*.example.test"); !strings.Contains(a.Reason, "platformctl certs secret set key") {
			t.Errorf("without its secret: got %+v", a)
		}
		h.clock.add(time.Hour)
		wrong := base64.StdEncoding.EncodeToString([]byte("another key that is as long as it"))
		if err := h.SetSecret(t.Context(), activity.Record{}, "key", Secret(wrong)); err != nil {
			t.Fatal(err)
		}
		h.pass()
		if a := h.failure("*.example.test"); !strings.Contains(a.Reason, "create record _acme-challenge.example.test") || strings.Contains(a.Reason, wrong) {
			t.Errorf("got %+v", a)
		}
	})
}

// The records that a name needs are planned, made, found to be there, and taken away again.
func TestDNSRecords(t *testing.T) {
	at, key := nameServer(t)
	w := newWorldWith(t, pebbletest.Config{DNS: at})
	h := newHost(t, nil, w.ca("pebble"))
	h.settings.DNS = []state.DNSProvider{{Name: "updates", Type: state.RFC2136, Zones: []string{"example.test"}, Secret: "key", Settings: map[string]string{"server": at, "key_name": "updater"}}}
	if err := h.SetSecret(t.Context(), activity.Record{}, "key", Secret(key)); err != nil {
		t.Fatal(err)
	}
	wish := DNSWish{Names: []string{"www.example.test", "new.example.test"}, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")}}
	text := func(list []Records) string {
		var out []string
		for _, r := range list {
			for _, c := range r.Changes {
				out = append(out, fmt.Sprintf("%s%s %s %s", map[bool]string{true: "-", false: "+"}[c.Remove], r.Name, c.Record.Type, c.Record.Value))
			}
			for _, o := range r.Odd {
				out = append(out, fmt.Sprintf("?%s %s %s", o.Name, o.Type, o.Value))
			}
		}
		return strings.Join(out, ", ")
	}
	list, err := h.PlanDNS(t.Context(), wish)
	if want := "+www.example.test A 198.51.100.7, +www.example.test AAAA 2001:db8::7, ?www.example.test A 127.0.0.1, +new.example.test A 198.51.100.7, +new.example.test AAAA 2001:db8::7"; err != nil || text(list) != want {
		t.Errorf("plan: got %s %+v, %v", text(list), list, err)
	}
	if n := len(lookUp(at, "new.example.test", dns.TypeA)); n != 0 {
		t.Fatal("a plan changed the zone")
	}
	wish.Replace = true
	if list, err = h.ApplyDNS(t.Context(), activity.Record{Actor: "root"}, wish); err != nil || !strings.Contains(text(list), "-www.example.test A 127.0.0.1") {
		t.Fatalf("apply: got %s, %v", text(list), err)
	}
	if got := fmt.Sprint(lookUp(at, "www.example.test", dns.TypeA)); !strings.Contains(got, "198.51.100.7") || strings.Contains(got, "127.0.0.1") {
		t.Errorf("the zone has %s", got)
	}
	if got := fmt.Sprint(lookUp(at, "new.example.test", dns.TypeAAAA)); !strings.Contains(got, "2001:db8::7") {
		t.Errorf("the zone has %s", got)
	}
	if list, err = h.PlanDNS(t.Context(), wish); err != nil || text(list) != "" {
		t.Errorf("afterwards: got %s, %v", text(list), err)
	}
	wish.Remove = true
	if _, err = h.ApplyDNS(t.Context(), activity.Record{Actor: "root"}, wish); err != nil || len(lookUp(at, "new.example.test", dns.TypeA)) != 0 {
		t.Errorf("remove: %v", err)
	}
	if n := h.count(activity.DNSChanged, "new.example.test"); n != 2 {
		t.Errorf("%d records", n)
	}
	wish = DNSWish{Names: []string{"www.example.com"}, Addresses: wish.Addresses}
	if _, err := h.ApplyDNS(t.Context(), activity.Record{}, wish); err == nil || !strings.Contains(err.Error(), "make the records by hand") {
		t.Errorf("without a provider: got %v", err)
	}
}
