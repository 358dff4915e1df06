package proxy

import (
	"net/http"
	"strconv"
	"strings"
)

// Security is the headers that browsers obey. Every route has them without being asked; a field overrides one: "" is the
// default, "off" leaves what the back end says.
type Security struct {
	// HSTS is in seconds; 0 is two years, -1 is off. RFC 6797.
	HSTS                  int    `json:"hsts,omitempty"`
	HSTSIncludeSubdomains bool   `json:"hsts_include_subdomains,omitempty"`
	FrameOptions          string `json:"frame_options,omitempty"`           // SAMEORIGIN
	ReferrerPolicy        string `json:"referrer_policy,omitempty"`         // strict-origin-when-cross-origin
	ContentTypeOptions    string `json:"content_type_options,omitempty"`    // nosniff
	XSSProtection         string `json:"xss_protection,omitempty"`          // 0: the filters it switched on could be turned against a page
	DownloadOptions       string `json:"download_options,omitempty"`        // noopen
	CrossDomainPolicies   string `json:"cross_domain_policies,omitempty"`   // none
	ContentSecurityPolicy string `json:"content_security_policy,omitempty"` // none of ours
	PermissionsPolicy     string `json:"permissions_policy,omitempty"`      // none of ours
	// CookiesSecure adds Secure to every cookie of the back end that lacks it; "off" does not.
	CookiesSecure Switch `json:"cookies_secure,omitempty"`
	// AppWins lets what the back end says stand, where it says anything.
	AppWins bool `json:"app_wins,omitempty"`
	// Robots is the whole of robots.txt; "" leaves that to the back end.
	Robots string `json:"robots,omitempty"`
}

// secured is one header that is completed on the way out.
type secured struct {
	name, value string
	// stricter are the values of a back end that may stand, because they ask for more.
	stricter []string
}

// referrerPolicies are those that tell less than the default.
var referrerPolicies = []string{"no-referrer", "same-origin", "strict-origin"}

// headers are what s puts into an answer, in canonical form.
func (s *Security) headers() []secured {
	var out []secured
	add := func(name, set, def string, stricter ...string) {
		if set == "" {
			set = def
		}
		if set != "" && !strings.EqualFold(set, string(Off)) {
			out = append(out, secured{name, set, stricter})
		}
	}
	hsts := ""
	switch {
	case s.HSTS == 0:
		hsts = "max-age=63072000"
	case s.HSTS > 0:
		hsts = "max-age=" + strconv.Itoa(s.HSTS)
	}
	if hsts != "" && s.HSTSIncludeSubdomains {
		hsts += "; includeSubDomains"
	}
	add("Strict-Transport-Security", hsts, "")
	add("X-Content-Type-Options", s.ContentTypeOptions, "nosniff")
	add("X-Frame-Options", s.FrameOptions, "SAMEORIGIN", "DENY")
	add("Referrer-Policy", s.ReferrerPolicy, "strict-origin-when-cross-origin", referrerPolicies...)
	add("X-Xss-Protection", s.XSSProtection, "0", "1; mode=block")
	add("X-Download-Options", s.DownloadOptions, "noopen")
	add("X-Permitted-Cross-Domain-Policies", s.CrossDomainPolicies, "none")
	add("Content-Security-Policy", s.ContentSecurityPolicy, "")
	add("Permissions-Policy", s.PermissionsPolicy, "")
	return out
}

// complete puts the headers into the head of an answer.
func (t *securityHeaders) complete(h http.Header, tls bool) {
	for i := range t.list {
		s := &t.list[i]
		if !tls && s.name == "Strict-Transport-Security" {
			delete(h, s.name) // RFC 6797, section 7.2: never over plain HTTP
			continue
		}
		have := h[s.name]
		if len(have) > 0 && (t.appWins || len(have) == 1 && s.admits(have[0])) {
			continue
		}
		h[s.name] = t.values[i]
	}
	if t.cookies && tls {
		secureCookies(h)
	}
}

func (s *secured) admits(value string) bool {
	for _, v := range s.stricter {
		if strings.EqualFold(strings.TrimSpace(value), v) {
			return true
		}
	}
	return s.name == "Strict-Transport-Security" && hstsStricter(value, s.value)
}

// hstsStricter reports whether a asks for at least what b does.
func hstsStricter(a, b string) bool {
	ageA, subA := hsts(a)
	ageB, subB := hsts(b)
	return ageA >= ageB && (subA || !subB)
}

func hsts(v string) (age int, subdomains bool) {
	age = -1
	for d := range strings.SplitSeq(v, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(d), "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "max-age":
			if n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`)); err == nil {
				age = n
			}
		case "includesubdomains":
			subdomains = true
		}
	}
	return age, subdomains
}

// secureCookies adds Secure where it is missing (RFC 6265, section 4.1.2.5).
func secureCookies(h http.Header) {
	cookies := h["Set-Cookie"]
	for i, c := range cookies {
		_, attributes, _ := strings.Cut(c, ";")
		secure := false
		for a := range strings.SplitSeq(attributes, ";") {
			secure = secure || strings.EqualFold(strings.TrimSpace(a), "Secure")
		}
		if !secure {
			cookies[i] = c + "; Secure"
		}
	}
}

// securityHeaders is Security, ready for use. The values are shared by all answers, which must not append to them.
type securityHeaders struct {
	list             []secured
	values           [][]string
	appWins, cookies bool
}

func (s *Security) compile() securityHeaders {
	t := securityHeaders{list: s.headers(), appWins: s.AppWins, cookies: s.CookiesSecure != Off}
	for _, h := range t.list {
		t.values = append(t.values, []string{h.value})
	}
	return t
}
