package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/health"
)

// outcome is one check with what it should say.
type outcome struct {
	name  string
	got   []Finding
	want  []State
	says  string // in one of the details
	mends string // in one of the remedies
}

func verify(t *testing.T, cases []outcome) {
	t.Helper()
	for _, c := range cases {
		var states []string
		details, remedies := "", ""
		for _, f := range c.got {
			states = append(states, string(f.State))
			details, remedies = details+f.Detail+"\n", remedies+f.Remedy+"\n"
			if f.Check == "" || f.Detail == "" || f.State == Failed && f.Remedy == "" {
				t.Errorf("%s: %+v: a finding has a name and a detail, and a failure a remedy", c.name, f)
			}
		}
		var want []string
		for _, s := range c.want {
			want = append(want, string(s))
		}
		if got, want := strings.Join(states, " "), strings.Join(want, " "); got != want || !strings.Contains(details, c.says) || !strings.Contains(remedies, c.mends) {
			t.Errorf("%s: got %s, want %s with %q and remedy %q; it says\n%s%s", c.name, got, want, c.says, c.mends, details, remedies)
		}
	}
}

func one(f Finding) []Finding { return []Finding{f} }

func open(ports ...firewall.Service) *firewall.Ruleset { return &firewall.Ruleset{Services: ports} }

func service(proto firewall.Protocol, first, last uint16) firewall.Service {
	return firewall.Service{Name: "s", Protocol: proto, Ports: []firewall.PortRange{{First: first, Last: last}}}
}

func TestChecks(t *testing.T) {
	change := firewall.Change{Op: firewall.OpAdd, Kind: "rule", Name: "pre", After: "drop"}
	verify(t, []outcome{
		{"in force", one(Policy(false, "nft", nil, nil)), []State{OK}, "driver nft", ""},
		{"off", one(Policy(true, "nft", nil, nil)), []State{Warning}, "switched off", "firewall on"},
		{"drift", one(Policy(false, "nft", []firewall.Change{change}, nil)), []State{Failed}, "+ rule pre: drop", "drift"},
		{"unreadable", one(Policy(false, "nft", nil, errors.New("no netlink"))), []State{Failed}, "no netlink", "journalctl"},
		{"no conditions", Conditions(nil), []State{OK}, "", ""},
		{"conditions", Conditions([]health.Condition{{ID: "a", Severity: health.Critical, Message: "x", Remedy: "r"}, {ID: "b", Severity: health.Warning, Message: "y"}}), []State{Failed, Warning}, "y", "r"},
		{"log", one(Activity(activity.Report{OK: true, Records: 7}, nil)), []State{OK}, "7 records", ""},
		{"log tampered", one(Activity(activity.Report{Problems: []activity.Problem{{Text: "record 3 changed"}}}, nil)), []State{Failed}, "record 3 changed", "activity verify"},
		{"log unreadable", one(Activity(activity.Report{}, errors.New("disk"))), []State{Failed}, "disk", "verify"},
	})
}

func TestSSH(t *testing.T) {
	for _, c := range []struct{ name, text, ports string }{{"two ports", "port 22\nPort 202\nport x\nport 70000\nport 22\n", "22, 202"}, {"none", "", ""}} {
		if got := numbers(ParseSSHD(c.text).Ports); got != c.ports {
			t.Errorf("%s: got %q, want %q", c.name, got, c.ports)
		}
	}
	says := func(text string) []Finding { s := ParseSSHD(text); return Logins(&s, nil) }
	verify(t, []outcome{
		{"keys", says("passwordauthentication no\nkbdinteractiveauthentication no\npermitrootlogin yes"), []State{OK}, "keys only", ""},
		{"passwords", says("passwordauthentication yes\npermitrootlogin without-password"), []State{Failed}, "takes passwords:", "PasswordAuthentication no"},
		{"root", says("passwordauthentication yes\npermitrootlogin yes"), []State{Failed}, "also for root", "reload"},
		{"empty", says("passwordauthentication yes\npermitemptypasswords yes"), []State{Failed}, "empty passwords", ""},
		{"keyboard", says("passwordauthentication no\nkbdinteractiveauthentication yes"), []State{Warning}, "PAM", ""},
		{"no sshd", Logins(nil, nil), []State{Skipped}, "no sshd", ""},
		{"mute", Logins(nil, errors.New("exit status 255")), []State{Skipped}, "255", "sshd -T"},
		{"way in", one(WayIn(open(service(firewall.TCP, 20, 30)), []uint16{22})), []State{OK}, "22", ""},
		{"way in by one", one(WayIn(open(service(firewall.TCP, 22, 22)), []uint16{22, 202})), []State{OK}, "does not open 202", ""},
		{"wrong protocol", one(WayIn(open(service(firewall.UDP, 22, 22)), []uint16{22})), []State{Failed}, "nobody gets in", "ports open 22"},
		{"off", one(WayIn(&firewall.Ruleset{Off: true}, []uint16{22})), []State{OK}, "", ""},
		{"nothing listens", one(WayIn(open(), nil)), []State{Skipped}, "", ""},
	})
}

func TestServices(t *testing.T) {
	tcp := ParseSockets(firewall.TCP, strings.NewReader(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0101A8C0:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 0101A8C0:0016 0201A8C0:8000 01 00000000:00000000 00:00000000 00000000     0        0 4 1
`))
	tcp6 := ParseSockets(firewall.TCP, strings.NewReader(`   0: 00000000000000000000000001000000:0CEB 00000000000000000000000000000000:0000 0A 0 0
   1: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 0 0
`))
	udp := ParseSockets(firewall.UDP, strings.NewReader("  7: 00000000:0035 00000000:0000 07 0 0\n  8: 0101A8C0:0044 0201A8C0:0043 01 0 0\n"))
	if got, want := numbers(Ports(tcp, firewall.TCP)), "22, 5432"; got != want {
		t.Errorf("tcp: got %s, want %s: not on loopback, and not what is connected", got, want)
	}
	if len(tcp6) != 2 || !tcp6[0].Address.IsLoopback() || tcp6[1].Address.String() != "2001:db8::1" {
		t.Errorf("tcp6: got %v", tcp6)
	}
	rs := open(service(firewall.TCP, 22, 22), service(firewall.TCP, 53, 53))
	verify(t, []outcome{
		{"some", Services(rs, append(tcp, udp...)), []State{OK, OK}, "kept from the outside by the policy: 5432/tcp, 53/udp", "ports open"},
		{"open only", Services(rs, tcp[:1]), []State{OK}, "reached from outside: 22/tcp", ""},
		{"none", Services(rs, nil), []State{OK}, "nothing", ""},
	})
}

func TestKernel(t *testing.T) {
	values := func(pairs ...string) Sysctl {
		return func(path string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == path {
					return pairs[i+1], true
				}
			}
			return "", false
		}
	}
	all, fresh := "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter"
	nf4, nf6 := "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"
	used, most := "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"
	verify(t, []outcome{
		{"nothing there", Kernel(values(), open(), nil), []State{Skipped, Skipped, Skipped, OK, Skipped}, "forwards nothing", ""},
		{"cookies", one(synCookies(values("net/ipv4/tcp_syncookies", "1"))), []State{OK}, "", ""},
		{"no cookies", one(synCookies(values("net/ipv4/tcp_syncookies", "0"))), []State{Warning}, "off", "sysctl -w net.ipv4.tcp_syncookies=1"},
		{"strict", one(reversePath(values(all, "1", fresh, "0"))), []State{OK}, "", ""},
		{"loose by default", one(reversePath(values(all, "0", fresh, "2"))), []State{OK}, "", ""},
		{"no filter", one(reversePath(values(all, "0", fresh, "0"))), []State{Warning}, "forged", "rp_filter=2"},
		{"bridged", one(bridged(values(nf4, "1", nf6, "1"), []string{"br-a"})), []State{OK}, "br-a", ""},
		{"bridged IPv4 only", one(bridged(values(nf4, "1", nf6, "0"), []string{"br-a"})), []State{Warning}, "br-a", "br_netfilter"},
		{"bridge without module", one(bridged(values(), []string{"br-a"})), []State{Warning}, "", ""},
		{"forwards", one(forwarding(values("net/ipv4/ip_forward", "1"), open())), []State{OK}, "only containers", ""},
		{"router", one(forwarding(values("net/ipv6/conf/all/forwarding", "1"), &firewall.Ruleset{Forward: firewall.ForwardRuleset{Open: true}})), []State{Warning}, "router", "forward.open"},
		{"open router", one(forwarding(values("net/ipv4/ip_forward", "1"), &firewall.Ruleset{Off: true})), []State{Warning}, "is off", "firewall on"},
		{"room", one(connections(values(used, "10", most, "1000"))), []State{OK}, "10 of 1000", ""},
		{"crowded", one(connections(values(used, "750", most, "1000"))), []State{Warning}, "", "nf_conntrack_max=4000"},
		{"full", one(connections(values(used, "950", most, "1000"))), []State{Failed}, "", "top"},
		{"odd", one(connections(values(used, "x", most, "0"))), []State{Skipped}, "", ""},
	})
}

func TestOthers(t *testing.T) {
	verify(t, []outcome{
		{"none", Firewalls(Others{}), []State{OK}, "none", ""},
		{"all", Firewalls(Others{UFW: true, Firewalld: true, NFTables: true}), []State{Warning, Warning, Warning}, "ufw", "ufw disable"},
		{"chain", Firewalls(Others{Chains: []Chain{{"inet", "x", "c", "input"}}}), []State{Warning}, "chain c of table inet x drops at hook input", "nft list chain inet x c"},
		{"unlisted", Firewalls(Others{ChainsErr: errors.New("EPERM")}), []State{Skipped}, "EPERM", ""},
		{"no docker", Docker(nil), []State{Skipped}, "", ""},
		{"docker", Docker([]byte(`{"userland-proxy": false, "userns-remap": "default", "log-driver": "x"}`)), []State{OK}, "", ""},
		{"docker defaults", Docker([]byte(`{"userns-remap": "default"}`)), []State{Warning}, "userland proxy", `"userland-proxy": false`},
		{"docker without user namespaces", Docker([]byte(`{"userland-proxy": false}`)), []State{Warning}, "user namespaces", `"userns-remap": "default"`},
		{"docker without rules", Docker([]byte(`{"userland-proxy": true, "userns-remap": "default", "iptables": false, "ip6tables": false}`)), []State{Warning, Warning, Warning}, "IPv6", `"ip6tables": true`},
		{"docker broken", Docker([]byte(`{`)), []State{Warning}, "daemon.json", "mend"},
	})
}

func TestData(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	const hour, mb = time.Hour, 1 << 20
	verify(t, []outcome{
		{"no feeds", Feeds(now, nil), []State{Skipped}, "", ""},
		{"fresh feeds", Feeds(now, []Feed{{"a", hour, now.Add(-hour), ""}, {"b", 0, now.Add(-30 * hour), ""}}), []State{OK}, "2", ""},
		{"feeds", Feeds(now, []Feed{{"a", hour, now.Add(-5 * hour), ""}, {"b", 0, time.Time{}, ""}, {"c", hour, now, "404"}}), []State{Warning, Warning, Warning}, "every 1h0m0s", "feeds update a"},
		{"no geo", one(Geo(now, 0, time.Time{}, time.Time{})), []State{Skipped}, "", ""},
		{"geo without data", one(Geo(now, 2, time.Time{}, time.Time{})), []State{Failed}, "2 rules", "tor-geoipdb"},
		{"old geo", one(Geo(now, 2, now, now.AddDate(-1, 0, 0))), []State{Warning}, "365 days", "geo update"},
		{"geo", one(Geo(now, 2, now, now.AddDate(0, -1, 0))), []State{OK}, "31 days", ""},
		{"disk", one(Disk("/d", 10_000*mb, 20_000*mb)), []State{OK}, "10000 of 20000 MB free in /d", ""},
		{"disk low", one(Disk("/d", 900*mb, 20_000*mb)), []State{Warning}, "", "make room"},
		{"disk full", one(Disk("/d", 10*mb, 20_000*mb)), []State{Failed}, "", "make room"},
		{"disk unknown", one(Disk("/d", 0, 0)), []State{Skipped}, "", ""},
		{"clock", one(Clock(now, now.Add(-hour), now.Add(time.Second))), []State{OK}, "2026-06-01T00:00:00 UTC", ""},
		{"clock behind", one(Clock(now, now.Add(hour))), []State{Failed}, "records of 2026-06-01T01:00:00Z", "set-ntp"},
		{"clock reset", one(Clock(time.Unix(0, 0))), []State{Failed}, "1970", "set-ntp"},
	})
}
