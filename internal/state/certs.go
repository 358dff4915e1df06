package state

import (
	"cmp"
	"encoding/base64"
	"maps"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Certs says who issues the certificates of this host. The zero value asks nobody: every name has a self-signed one.
type Certs struct {
	// Email and TermsAgreed are what a CA wants to know first; without both none is contacted.
	Email       string `json:"email,omitempty"`
	TermsAgreed bool   `json:"terms_agreed,omitempty"`
	// CAs are asked in this order until one issues. Default: Let's Encrypt.
	CAs []CA `json:"cas,omitempty"`
	// Challenges are tried in this order for names that need no DNS challenge. Default: tls-alpn-01, http-01.
	Challenges []string `json:"challenges,omitempty"`
	// Names are wanted beside those of the routes; "*.example.org" needs a DNS provider.
	Names []string `json:"names,omitempty"`
	// DNS are the providers that can write the records of a zone.
	DNS []DNSProvider `json:"dns,omitempty"`
}

// CA is one that speaks ACME (RFC 8555).
type CA struct {
	Name      string `json:"name"`
	Directory string `json:"directory"`
	// Root is the PEM of what its own HTTPS certificate is verified by; empty is what the system trusts. A CA with a root
	// of its own is a private one, and may be asked for names that are not public.
	Root string `json:"root,omitempty"`
	// Profile is one of those that the CA offers; empty leaves the choice to it.
	Profile string `json:"profile,omitempty"`
	// EAB binds the account to one that exists elsewhere (RFC 8555, section 7.3.4).
	EAB EAB `json:"eab,omitzero"`
}

// EAB is an external account binding. Secret names the stored secret that holds its MAC key, in base64url.
type EAB struct {
	KID    string `json:"kid"`
	Secret string `json:"secret"`
}

// The kinds of DNS provider.
const (
	RFC2136      = "rfc2136"
	Cloudflare   = "cloudflare"
	Route53      = "route53"
	DigitalOcean = "digitalocean"
	Hetzner      = "hetzner"
	ExecDNS      = "exec"
)

// DNSProvider can write the records of some zones.
type DNSProvider struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Zones are what it is asked for: "example.org" with everything below it.
	Zones []string `json:"zones"`
	// Secret names the stored secret that it is used with: a token, or a key.
	Secret string `json:"secret,omitempty"`
	// Settings depend on the type.
	Settings map[string]string `json:"settings,omitempty"`
	// Resolvers are asked whether a record is there yet, as ADDRESS:PORT; empty asks the zone's own servers.
	Resolvers []string `json:"resolvers,omitempty"`
}

// LetsEncrypt is the CA that is asked where the document names none.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// The challenges that need no DNS provider.
const (
	TLSALPN01 = "tls-alpn-01"
	HTTP01    = "http-01"
)

// WithDefaults is c with every field filled in that has a default.
func (c Certs) WithDefaults() Certs {
	if len(c.CAs) == 0 {
		c.CAs = []CA{{Name: "letsencrypt", Directory: LetsEncrypt}}
	}
	if len(c.Challenges) == 0 {
		c.Challenges = []string{TLSALPN01, HTTP01}
	}
	return c
}

// Provider is the one whose zone name is in, by the longest zone.
func (c Certs) Provider(name string) (best DNSProvider, ok bool) {
	name, longest := strings.TrimPrefix(name, "*."), -1
	for _, p := range c.DNS {
		for _, z := range p.Zones {
			if (name == z || strings.HasSuffix(name, "."+z)) && len(z) > longest {
				best, ok, longest = p, true, len(z)
			}
		}
	}
	return best, ok
}

// dnsSettings are the settings that a type of provider knows; those that end with ! are needed.
func dnsSettings() map[string][]string {
	return map[string][]string{
		RFC2136:      {"server!", "key_name!", "key_alg"},
		Cloudflare:   {},
		Route53:      {"access_key_id!", "region"},
		DigitalOcean: {},
		Hetzner:      {},
		ExecDNS:      {"program!"},
	}
}

func (c Certs) validate(v *validator) {
	if c.Email != "" {
		if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email || len(c.Email) > 254 {
			v.bad("certs.email", "%q is not an e-mail address; write for example admin@example.org", c.Email)
		}
	}
	seen := map[string]bool{}
	for i, ca := range c.CAs {
		ca.validate(v, at("certs.cas", i), seen)
	}
	for i, ch := range c.Challenges {
		if ch != TLSALPN01 && ch != HTTP01 {
			v.bad(at("certs.challenges", i), "%q must be %s or %s; dns-01 is used where a name has a provider in certs.dns", ch, TLSALPN01, HTTP01)
		}
	}
	seen = map[string]bool{}
	for i, n := range c.Names {
		if !HostName(strings.TrimPrefix(n, "*.")) {
			v.bad(at("certs.names", i), "%q is not the name of a host; write it in lower case and in ASCII, such as www.example.org or *.example.org", n)
		} else if seen[n] {
			v.bad(at("certs.names", i), "%q is there twice; leave one out", n)
		}
		seen[n] = true
		if _, ok := c.Provider(n); strings.HasPrefix(n, "*.") && !ok {
			v.bad(at("certs.names", i), "%q needs a DNS provider: name one in certs.dns with a zone that it is in", n)
		}
	}
	seen = map[string]bool{}
	for i, p := range c.DNS {
		p.validate(v, at("certs.dns", i), seen)
	}
}

func (ca CA) validate(v *validator, at string, seen map[string]bool) {
	v.name(at+".name", ca.Name, seen)
	if u, err := url.Parse(ca.Directory); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		v.bad(at+".directory", "%q is not an https URL; write for example %s", ca.Directory, LetsEncrypt)
	}
	if ca.Root != "" && (!strings.Contains(ca.Root, "-----BEGIN CERTIFICATE-----") || len(ca.Root) > 64<<10) {
		v.bad(at+".root", "is not a certificate in PEM; put in the text of the file, which begins with -----BEGIN CERTIFICATE-----")
	}
	if len(ca.Profile) > 64 || strings.ContainsFunc(ca.Profile, unprintable) {
		v.bad(at+".profile", "%q is not the name of a profile; leave it empty to let the CA choose", ca.Profile)
	}
	if ca.EAB != (EAB{}) {
		if ca.EAB.KID == "" || len(ca.EAB.KID) > 256 || strings.ContainsFunc(ca.EAB.KID, unprintable) {
			v.bad(at+".eab.kid", "is missing or too long; the CA shows it beside the key")
		}
		v.secret(at+".eab.secret", ca.EAB.Secret)
	}
}

func (p DNSProvider) validate(v *validator, where string, seen map[string]bool) {
	v.name(where+".name", p.Name, seen)
	known, ok := dnsSettings()[p.Type]
	if !ok {
		v.bad(where+".type", "%q must be one of %s", p.Type, strings.Join(slices.Sorted(maps.Keys(dnsSettings())), ", "))
	}
	if len(p.Zones) == 0 {
		v.bad(where+".zones", "name at least one zone that this provider has, such as example.org")
	}
	for i, z := range p.Zones {
		if !HostName(z) {
			v.bad(at(where+".zones", i), "%q is not the name of a zone; write for example example.org", z)
		}
	}
	if p.Type != ExecDNS || p.Secret != "" {
		v.secret(where+".secret", p.Secret)
	}
	for i, r := range p.Resolvers {
		if _, err := netip.ParseAddrPort(r); err != nil {
			v.bad(at(where+".resolvers", i), "%q is not an address with a port; write for example 192.0.2.53:53 or [2001:db8::53]:53", r)
		}
	}
	if !ok {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(p.Settings)) {
		if !slices.Contains(known, k) && !slices.Contains(known, k+"!") {
			v.bad(where+".settings", "%q is not a setting of %s; it has: %s", k, p.Type, cmp.Or(strings.ReplaceAll(strings.Join(known, ", "), "!", ""), "none"))
		} else if s := p.Settings[k]; len(s) > 512 || strings.ContainsFunc(s, unprintable) {
			v.bad(where+".settings."+k, "is too long, or has characters that cannot be printed")
		}
	}
	for _, k := range known {
		if name, must := strings.CutSuffix(k, "!"); must && p.Settings[name] == "" {
			v.bad(where+".settings", "%s is missing, which a provider of type %s needs", name, p.Type)
		}
	}
	if p.Type == ExecDNS && p.Settings["program"] != "" && !path.IsAbs(p.Settings["program"]) {
		v.bad(where+".settings.program", "%q is not an absolute path", p.Settings["program"])
	}
	if p.Type == RFC2136 && p.Settings["server"] != "" {
		if _, err := netip.ParseAddrPort(p.Settings["server"]); err != nil {
			v.bad(where+".settings.server", "%q is not an address with a port; write for example 192.0.2.53:53", p.Settings["server"])
		}
	}
}

// name checks what an item of a list is called.
func (v *validator) name(path, name string, seen map[string]bool) {
	switch {
	case !Label(name):
		v.bad(path, "%q is not a name; use 1 to 32 lower-case letters, digits and dashes", name)
	case seen[name]:
		v.bad(path, "%q is there twice; choose another name", name)
	}
	seen[name] = true
}

func (v *validator) secret(path, name string) {
	if !Label(name) {
		v.bad(path, "%q is not the name of a stored secret (1 to 32 lower-case letters, digits and dashes); store one with: platformctl certs secret set NAME", name)
	}
}

// Label reports whether s can name an item: 1 to 32 lower-case letters, digits and dashes.
func Label(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// HostName reports whether s is the name of a host as DNS has it (RFC 1123), in lower case.
func HostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// MACKey reads the key of an external account binding.
func MACKey(secret string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(secret), "="))
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f }

// AddNames adds names that are wanted; those that are there already stay.
func (c *Certs) AddNames(names ...string) {
	for _, n := range names {
		if !slices.Contains(c.Names, n) {
			c.Names = append(c.Names, n)
		}
	}
}

// RemoveNames takes names out and returns those that were not there.
func (c *Certs) RemoveNames(names ...string) (missing []string) {
	for _, n := range names {
		i := slices.Index(c.Names, n)
		if i < 0 {
			missing = append(missing, n)
			continue
		}
		c.Names = slices.Delete(c.Names, i, i+1)
	}
	return missing
}

// SetCA puts a CA first: in the place of one of the same name, or before all others.
func (c *Certs) SetCA(ca CA) {
	c.CAs = slices.DeleteFunc(c.CAs, func(x CA) bool { return x.Name == ca.Name })
	c.CAs = slices.Insert(c.CAs, 0, ca)
}
