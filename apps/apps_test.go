package apps

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func whole() Manifest {
	return Manifest{
		Version: 1, ID: "wiki", Image: "example.org/wiki@sha256:" + strings.Repeat("a", 64), HTTP: HTTP{Port: 8080},
		Ports: []Port{{Name: "ssh", Container: 22, Default: 2222, Count: 2}},
		Data:  []Data{{Name: "data", Path: "/data"}}, Tmpfs: []Tmpfs{{Path: "/run", Size: 1 << 20}},
		Env: map[string]string{"URL": "${origin}/$$x", "KEY": "${secret.key}"}, Secrets: []Secret{{Name: "key"}},
		Capabilities: []string{"SETUID", "CHOWN"}, Health: Health{Path: "/health"}, Schedules: []Schedule{{Name: "tidy", Cron: "15 3 * * *", Command: []string{"/tidy"}}},
	}
}

func installed(names ...string) Config {
	var c Config
	for _, n := range names {
		a := App{Name: n, Domain: n + ".example.org", Current: Placeholder(whole()), Ports: map[string]uint16{"ssh": 0}}
		c.Add(a)
	}
	return c
}

// TestValidate: each mistake is found, by its field, and all at once.
func TestValidate(t *testing.T) {
	m := whole()
	if err := m.Validate(); err != nil {
		t.Fatalf("a manifest that is right: %v", err)
	}
	for at, spoil := range map[string]func(*Manifest){
		"version":               func(m *Manifest) { m.Version = 2 },
		"id":                    func(m *Manifest) { m.ID = "Wiki" },
		"image":                 func(m *Manifest) { m.Image = "--privileged" },
		"user":                  func(m *Manifest) { m.User = "0:5" },
		"data[0].path":          func(m *Manifest) { m.Data[0].Path = "/proc/sys" },
		"tmpfs[0].path":         func(m *Manifest) { m.Tmpfs[0].Path = "/data" },
		"capabilities[0]":       func(m *Manifest) { m.Capabilities[0] = "SYS_ADMIN" },
		"env.URL":               func(m *Manifest) { m.Env["URL"] = "${postgresql.url}" },
		`env["A B"]`:            func(m *Manifest) { m.Env["A B"] = "" },
		"secrets[0].bytes":      func(m *Manifest) { m.Secrets[0].Bytes = 4 },
		"ports[0].count":        func(m *Manifest) { m.Ports[0].Count = 70000 },
		"limits.memory":         func(m *Manifest) { m.Limits.Memory = 1 },
		"addons.oracle":         func(m *Manifest) { m.Addons = map[string]Addon{"oracle": {}} },
		"egress.hosts[0]":       func(m *Manifest) { m.Egress = Egress{Mode: "list", Hosts: []string{"http://x"}} },
		"schedules[0].cron":     func(m *Manifest) { m.Schedules[0].Cron = "@reboot" },
		"health.path":           func(m *Manifest) { m.Health.Path = "x\r\nHost: y" },
		"stop_signal":           func(m *Manifest) { m.StopSignal = "SIGKILL" },
		"extra_http[0].name":    func(m *Manifest) { m.ExtraHTTP = []HTTP{{Port: 1}} },
		"proxy.headers[\"a:\"]": func(m *Manifest) { m.Proxy.Headers = map[string]string{"a:": ""} },
	} {
		bad := whole()
		spoil(&bad)
		bad.Title = strings.Repeat("x", 101)
		err := bad.Validate()
		if err == nil || !strings.Contains(err.Error(), at+": ") || !strings.Contains(err.Error(), "title: ") {
			t.Errorf("%s: got %v", at, err)
		}
	}
}

// TestConfig: what two apps cannot both have is refused by name.
func TestConfig(t *testing.T) {
	c := installed("blog", "wiki")
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.Apps[0].Ports, c.Apps[1].Ports = map[string]uint16{"ssh": 2222}, map[string]uint16{"ssh": 2223}
	c.Apps[1].Domain = c.Apps[0].Domain
	err := c.Validate()
	for _, want := range []string{`port tcp/2223 is already published by app "blog"`, `blog.example.org is that of app "blog" already`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %s", err, want)
		}
	}
}

// TestCompile: two apps share nothing, and the same document means the same twice.
func TestCompile(t *testing.T) {
	c := installed("blog", "wiki")
	facts := Facts{AppArmor: true, Secret: func(app, name string) (string, error) { return app + "-" + name, nil }}
	d := c.Compile(facts)
	if len(d.Broken) > 0 || len(d.Containers) != 2 || len(d.Networks) != 2 || len(d.Volumes) != 2 {
		t.Fatalf("got %+v", d)
	}
	a, b := d.Containers[0], d.Containers[1]
	if d.Networks[0].V4.Overlaps(d.Networks[1].V4) || d.Networks[0].V6.Overlaps(d.Networks[1].V6) || !d.Networks[0].V4.Contains(a.V4) || !d.Networks[1].V6.Contains(b.V6) {
		t.Errorf("networks: %+v", d.Networks)
	}
	if want := []string{"KEY=blog-secret.key", "URL=https://blog.example.org/$x"}; !slices.Equal(a.Env, want) {
		t.Errorf("env: got %q, want %q", a.Env, want)
	}
	if a.Profile != "platform-app-blog" || !slices.Equal(a.Capabilities, []string{"CHOWN", "SETUID"}) || a.Digest() == b.Digest() {
		t.Errorf("got %+v", a)
	}
	again := c.Compile(facts)
	if a.Digest() != again.Containers[0].Digest() {
		t.Error("the same document means something else the second time")
	}
	have := Observed{Networks: map[string]string{}, Volumes: map[string]string{}}
	var got []string
	for _, s := range Diff(&d, &have) {
		got = append(got, s.String())
	}
	want := []string{"make-network platform-blog", "make-network platform-wiki", "make-volume platform-blog-1-data", "make-volume platform-wiki-1-data",
		"create platform-blog-a", "create platform-wiki-a", "start platform-blog-a", "start platform-wiki-a"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestPlanHasRoom: the last network of the default pools is inside of them.
func TestPlanHasRoom(t *testing.T) {
	var c Config
	if c.MostApps() != 4095 {
		t.Errorf("got %d networks", c.MostApps())
	}
	v4, v6 := c.Subnets(c.MostApps())
	if v4.String() != "10.212.255.240/28" || v6.String() != "fd70:6c61:7466:fff::/64" {
		t.Errorf("got %v %v", v4, v6)
	}
	if b := (&App{Network: c.MostApps()}).Bridge(); len(b) > 15 {
		t.Errorf("%q is too long for an interface", b)
	}
}

// TestUpdateAndRollback: which data a version runs on.
func TestUpdateAndRollback(t *testing.T) {
	c := installed("wiki")
	a := &c.Apps[0]
	if err := a.Rollback(false); err == nil {
		t.Error("there was a version to go back to")
	}
	if err := a.Update(Placeholder(whole())); err != nil || a.Next.Data != 2 || a.Next.From != 1 || a.Next.Slot != SlotB {
		t.Fatalf("got %+v, %v", a.Next, err)
	}
	if a.Update(Placeholder(whole())) == nil {
		t.Error("a second update was let in beside the first")
	}
	before := a.Current
	a.Current, a.Previous, a.Next = *a.Next, &before, nil
	if err := a.Rollback(false); err != nil || a.Next.Data != 3 || a.Next.From != 1 || a.Next.Slot != SlotA {
		t.Errorf("got %+v, %v", a.Next, err)
	}
	a.Next = nil
	if err := a.Rollback(true); err != nil || a.Next.From != 2 {
		t.Errorf("got %+v, %v", a.Next, err)
	}
	a.Next, a.Previous = nil, nil
	a.Current.Manifest.Overlap, a.Current.Manifest.Ports = true, nil
	v := a.Current
	if err := a.Update(v); err != nil || a.Next.Data != a.Current.Data || a.Next.From != 0 {
		t.Errorf("both may share their data: got %+v, %v", a.Next, err)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "17": 17, "4k": 4096, "512M": 512 << 20, "2GiB": 2 << 30, "1TB": 1 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: got %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5G", "M", "99999999999T"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d", text, s)
		}
	}
	if s := Size(1536 << 20).String(); s != "1536M" {
		t.Errorf("got %s", s)
	}
}

func TestDestination(t *testing.T) {
	for text, want := range map[string]string{"example.org": "example.org 0", "*.Example.org:443": "*.example.org 443", "192.0.2.7/24": "192.0.2.0/24 0", "[2001:db8::1]:53": "2001:db8::1/128 53", "2001:db8::/32": "2001:db8::/32 0"} {
		d, why := ParseDestination(text)
		got := d.Name
		if d.Prefix.IsValid() {
			got = d.Prefix.String()
		}
		if why != "" || fmt.Sprint(got, " ", d.Port) != want {
			t.Errorf("%s: got %+v, %q", text, d, why)
		}
	}
	for _, text := range []string{"", "localhost", "x:0", "http://example.org", "example.org:http", "a b.org", "[::1"} {
		if d, why := ParseDestination(text); why == "" {
			t.Errorf("%q was taken for %+v", text, d)
		}
	}
}

func TestNextRun(t *testing.T) {
	at := time.Date(2026, 2, 28, 23, 59, 0, 0, time.UTC)
	if got := NextRun("0 0 1 * *", at); !got.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("got %v", got)
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("a ${b} $$ ${")
	f.Fuzz(func(t *testing.T, s string) {
		out := Expand(s, func(string) string { return "" })
		if len(out) > len(s) {
			t.Errorf("%q became %q", s, out)
		}
	})
}

func FuzzDestination(f *testing.F) {
	f.Add("[2001:db8::1]:53")
	f.Add("*.example.org:443")
	f.Fuzz(func(t *testing.T, s string) {
		if d, why := ParseDestination(s); why == "" && (d.Name == "") != d.Prefix.IsValid() {
			t.Errorf("%q: %+v is neither a name nor addresses", s, d)
		}
	})
}
