package proxy

import (
	"errors"
	"strings"
)

// Why a path is refused. Each would let two programs see two paths.
var (
	errPathForm    = errors.New("path does not begin with a slash")
	errPathEscape  = errors.New("path has a bad percent-encoding")
	errPathControl = errors.New("path has a control character in it")
	errQuery       = errors.New("query has a space, a control character or a fragment in it")
	errPathHidden  = errors.New("path has dot segments behind an encoded slash or a backslash")
)

// normalPath brings the path of a request, still percent-encoded, into the one form that is matched, logged and forwarded:
// dot segments are resolved, whether they are encoded or not (RFC 3986, section 6.2.2.3), slashes are merged, unreserved
// characters are decoded and the digits of escapes are upper case (section 6.2.2). An encoded slash stays encoded, and is
// no separator; where decoding it would make a dot segment, the path is refused.
func normalPath(p string) (string, error) {
	if p == "" || p[0] != '/' {
		return "", errPathForm
	}
	if plainPath(p) {
		return p, nil
	}
	p, err := normalEscapes(p)
	if err != nil {
		return "", err
	}
	out := make([]string, 0, 16)
	segments := strings.Split(p[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "." || s == "" && !last:
		case s == "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		case s == "": // the slash at the end
			out = append(out, "")
			continue
		default:
			if hidesDots(s) {
				return "", errPathHidden
			}
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/"), nil
}

// judgeQuery refuses what would end the query for others. Over HTTP/2 and HTTP/3 a space arrives as it is, and would end the
// target in the request line of a back end that speaks HTTP/1.1 (RFC 9113, section 10.3).
func judgeQuery(q string) error {
	for i := 0; i < len(q); i++ {
		if c := q[i]; c <= ' ' || c == 0x7f || c == '#' {
			return errQuery
		}
	}
	return nil
}

// plainPath reports whether a path is in its normal form already, for all that need not be looked at closely.
func plainPath(p string) bool {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '%' || c == '\\' || c == ';' || c <= ' ' || c >= 0x7f:
			return false
		case c == '/' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.'):
			return false
		}
	}
	return true
}

// normalEscapes decodes what needs no escape, and escapes what does.
func normalEscapes(p string) (string, error) {
	var b strings.Builder
	b.Grow(len(p) + 8)
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '%' {
			if i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
				return "", errPathEscape
			}
			c = unhex(p[i+1])<<4 | unhex(p[i+2])
			i += 2
			if c < ' ' || c == 0x7f {
				return "", errPathControl
			}
			if unreserved(c) {
				b.WriteByte(c)
			} else {
				escape(&b, c)
			}
			continue
		}
		switch {
		case c < ' ' || c == 0x7f:
			return "", errPathControl
		case c == ' ' || c >= 0x80 || strings.IndexByte("\"<>\\^`{|}#?", c) >= 0:
			escape(&b, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// hidesDots reports whether a segment becomes a dot segment for a program that decodes slashes, takes a backslash for one,
// or cuts off what follows a semicolon.
func hidesDots(s string) bool {
	if !strings.Contains(s, "%2F") && !strings.Contains(s, "%5C") && !strings.HasPrefix(s, ".") {
		return false
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "%2F", "/"), "%5C", "/")
	for part := range strings.SplitSeq(s, "/") {
		part, _, _ = strings.Cut(part, ";")
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

func escape(b *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	b.WriteByte('%')
	b.WriteByte(digits[c>>4])
	b.WriteByte(digits[c&15])
}

// unreserved is RFC 3986, section 2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

// joinPath is where a path goes at a back end: what is left of it behind the route's prefix, below the back end's own path.
// A slash at the end of either makes no difference.
func joinPath(base, rest string) string {
	switch {
	case rest == "" && base == "":
		return "/"
	case rest == "":
		return base
	}
	return strings.TrimSuffix(base, "/") + rest
}
