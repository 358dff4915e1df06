// Package wire is the grammar of HTTP/1.1 that the reader of requests and the reader of answers have in common: tokens,
// header lines, sizes of chunks, lengths of bodies, and how a body goes on.
//
// It is strict: what two programs could read differently is refused with a reason (RFC 9112, section 11.2), and nothing is
// repaired. It never keeps or changes the bytes that it is shown; the one thing that it remembers is how far a Body was read.
package wire

// IsToken is RFC 9110, section 5.6.2.
func IsToken(b []byte) bool {
	for _, c := range b {
		if !tokenChars[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokenChars = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()

// Is compares with a word in lower case.
func Is(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// Field reads a header line without its end: a token, a colon, and a value without control characters (RFC 9112,
// section 5). With a reason it is none.
func Field(line []byte) (name, value []byte, reason string) {
	if len(line) == 0 || line[0] == ' ' || line[0] == '\t' {
		return nil, nil, "a field is continued on another line"
	}
	colon := 0
	for colon < len(line) && tokenChars[line[colon]] {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return nil, nil, "the name of a field is not a token"
	}
	value = trim(line[colon+1:])
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, "a field has a control character in it"
		}
	}
	return line[:colon], value, ""
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// ChunkSize reads the line before a chunk, without its end; what follows a semicolon are extensions, which mean nothing.
func ChunkSize(line []byte) (int64, bool) {
	digits := line
	for i, c := range line {
		if c == ';' {
			digits = line[:i]
			for len(digits) > 0 && (digits[len(digits)-1] == ' ' || digits[len(digits)-1] == '\t') {
				digits = digits[:len(digits)-1]
			}
			for _, c := range line[i:] {
				if c < ' ' && c != '\t' || c >= 0x7f {
					return 0, false
				}
			}
			break
		}
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}

// Length reads the value of Content-Length: digits and nothing else (RFC 9110, section 8.6).
func Length(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// Framing reports whether a field says how a message is delimited or where it goes, which trailers must not (RFC 9110,
// section 6.5.1).
func Framing(name []byte) bool {
	return Is(name, "content-length") || Is(name, "transfer-encoding") || Is(name, "host") || Is(name, "trailer") || Is(name, "connection") || Is(name, "upgrade") || Is(name, "te")
}
