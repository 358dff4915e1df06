package page

import (
	"strings"

	"github.com/platformd/platformd/proxy/header"
)

// Prefer is the form that a client likes best by the lines of its Accept (RFC 9110, section 12.5.1). Only what it names counts:
// "*/*" says nothing about what a program can read. Between forms that it likes equally the order is HTML, JSON, text.
func Prefer(accept []string) Form {
	best, most := Text, 0
	for e := range header.Elements(accept) {
		name, parameters, _ := strings.Cut(e, ";")
		q, ok := header.Weight(parameters)
		f, known := formOf(strings.ToLower(strings.TrimSpace(name)))
		if ok && known && (q > most || q == most && q > 0 && f < best) {
			best, most = f, q
		}
	}
	return best
}

func formOf(media string) (Form, bool) {
	switch {
	case media == "text/html" || media == "application/xhtml+xml":
		return HTML, true
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		return JSON, true
	case media == "text/plain":
		return Text, true
	}
	return 0, false
}
