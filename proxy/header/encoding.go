package header

import (
	"slices"
	"strings"
)

// Codings that the proxy can negotiate, as they are registered (RFC 9110, section 18.6; RFC 7932; RFC 8878).
const (
	Gzip   = "gzip"
	Brotli = "br"
	Zstd   = "zstd"
)

// Encoding chooses a content coding for a client. offers are in order of the server's preference, which decides between
// codings that the client likes equally; a coding is preferred to identity where both have the same weight. The result is
// empty where the body should go as it is. must says that the client refuses that: an answer without a coding is then only
// right when there is no offer it accepts, because any answer is better than none (RFC 9110, section 12.5.3).
func Encoding(accept []string, offers []string) (coding string, must bool) {
	if len(accept) == 0 {
		return "", false // anything is acceptable, but clients that say nothing rarely decode anything
	}
	const unset = -1
	identity, star := unset, unset
	weights := make([]int, len(offers))
	for i := range weights {
		weights[i] = unset
	}
	for e := range Elements(accept) {
		name, parameters, _ := strings.Cut(e, ";")
		q, ok := Weight(parameters)
		if !ok {
			continue
		}
		switch name = strings.ToLower(trim(name)); name {
		case "*":
			star = q
		case "identity":
			identity = q
		case "x-gzip":
			name = Gzip
			fallthrough
		default:
			if i := slices.Index(offers, name); i >= 0 {
				weights[i] = q
			}
		}
	}
	best := 0
	for i, q := range weights {
		if q == unset {
			q = star
		}
		if q > best {
			coding, best = offers[i], q
		}
	}
	if identity > best {
		return "", false
	}
	return coding, coding != "" && (identity == 0 || identity == unset && star == 0)
}

// Weight reads ";q=0.5" as thousandths; without one it is 1. ok is false for what is no weight.
func Weight(parameters string) (thousandths int, ok bool) {
	for parameters != "" {
		var p string
		p, parameters, _ = strings.Cut(parameters, ";")
		name, value, has := strings.Cut(p, "=")
		if strings.EqualFold(trim(name), "q") {
			return qvalue(trim(value), has)
		}
	}
	return 1000, true
}

// qvalue is ("0" ["." 0*3DIGIT]) / ("1" ["." 0*3("0")]), RFC 9110, section 12.4.2.
func qvalue(s string, given bool) (int, bool) {
	if !given || s == "" || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	q := int(s[0]-'0') * 1000
	scale := 100
	for i := 2; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		q += int(s[i]-'0') * scale
		scale /= 10
	}
	return q, q <= 1000
}

// MediaType is the type of a Content-Type without parameters, in lower case.
func MediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(trim(t))
}

// DefaultTypes are the content types worth compressing: text, and what is text in disguise. "text/*" is all of a kind.
func DefaultTypes() []string {
	return []string{
		"text/*",
		"application/json", "application/ld+json", "application/problem+json", "application/manifest+json", "application/geo+json",
		"application/javascript", "application/xml", "application/xhtml+xml", "application/rss+xml", "application/atom+xml",
		"application/wasm", "application/vnd.ms-fontobject", "font/ttf", "font/otf", "font/collection",
		"image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
	}
}

// IsType reports whether a Content-Type is one of the patterns.
func IsType(contentType string, patterns []string) bool {
	t := MediaType(contentType)
	return t != "" && slices.ContainsFunc(patterns, func(p string) bool {
		if kind, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(t, kind)
		}
		return t == p
	})
}
