package state

import (
	"strings"
	"testing"
)

func TestCertsNameEveryMistake(t *testing.T) {
	s := Default()
	s.Certs = Certs{
		Email: "Admin <a@b.c>", Challenges: []string{"dns-01"},
		CAs:   []CA{{Name: "Own CA", Directory: "http://ca.example/dir", Root: "x", EAB: EAB{KID: "x", Secret: "A B"}}, {Name: "a", Directory: LetsEncrypt, EAB: EAB{Secret: "x"}}, {Name: "a", Directory: LetsEncrypt}},
		Names: []string{"www.example.org", "WWW.example.org", "*.example.org", "*.example.net", "*.*.example.net", "www.example.org"},
		DNS: []DNSProvider{
			{Name: "zone", Type: RFC2136, Zones: []string{"example.org"}, Secret: "tsig", Settings: map[string]string{"server": "ns1", "colour": "red"}},
			{Name: "other", Type: "bind", Zones: []string{"-x"}, Resolvers: []string{"ns1"}},
			{Name: "script", Type: ExecDNS, Zones: []string{"example.com"}, Settings: map[string]string{"program": "dns.sh"}},
		},
	}
	err := s.Validate()
	if err == nil {
		t.Fatal("no mistake was found")
	}
	want := []string{
		"certs.email: ", "certs.challenges[0]: ", "certs.cas[0].name: ", "certs.cas[0].directory: ", "certs.cas[0].root: ",
		"certs.cas[0].eab.secret: ", "certs.cas[1].eab.kid: ", "certs.cas[2].name: ", "certs.names[1]: ", "certs.names[3]: ", "certs.names[4]: ", "certs.names[5]: ",
		`certs.dns[0].settings: "colour"`, "certs.dns[0].settings: key_name is missing", "certs.dns[0].settings.server: ", "certs.dns[1].type: ",
		"certs.dns[1].zones[0]: ", "certs.dns[1].resolvers[0]: ", "certs.dns[1].secret: ", "certs.dns[2].settings.program: ",
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not said", w)
		}
	}
	if strings.Contains(err.Error(), "certs.names[2]") || strings.Contains(err.Error(), "certs.names[0]") {
		t.Errorf("what is right was refused: %v", err)
	}
}

func TestProviderOfAName(t *testing.T) {
	c := Certs{DNS: []DNSProvider{{Name: "all", Zones: []string{"example.org"}}, {Name: "sub", Zones: []string{"lab.example.org"}}}}
	for name, want := range map[string]string{"example.org": "all", "*.example.org": "all", "a.lab.example.org": "sub", "*.lab.example.org": "sub", "badexample.org": "", "org": ""} {
		if p, ok := c.Provider(name); p.Name != want || ok != (want != "") {
			t.Errorf("%s: got %q, want %q", name, p.Name, want)
		}
	}
}
