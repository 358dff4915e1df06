package geo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Code is a country code in upper case; the zero Code is an unknown country.
type Code [2]byte

// String is the code, "??" if unknown.
func (c Code) String() string {
	if c == (Code{}) {
		return "??"
	}
	return string(c[:])
}

// MarshalText implements encoding.TextMarshaler, so that a Code can be a key in JSON.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Country is a code that can be named in a rule.
type Country struct {
	Code Code   `json:"code"`
	Name string `json:"name"`
}

// Countries is every country, by code.
func Countries() []Country {
	var out []Country
	for line := range strings.Lines(strings.TrimSpace(names)) {
		code, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		out = append(out, Country{Code{code[0], code[1]}, name})
	}
	return out
}

// table finds countries by code; it is made where many codes are looked up.
func table() map[Code]string {
	out := map[Code]string{}
	for _, c := range Countries() {
		out[c.Code] = c.Name
	}
	return out
}

// Name is a country's name in English, "" if the code is nobody's.
func Name(code string) string {
	if len(code) != 2 {
		return ""
	}
	return table()[Code{code[0], code[1]}]
}

// former is the codes that data and people use for others: reserved ones and some that are no longer in use.
func former(c Code) (Code, bool) {
	switch string(c[:]) {
	case "UK":
		return Code{'G', 'B'}, true
	case "FX":
		return Code{'F', 'R'}, true
	case "TP":
		return Code{'T', 'L'}, true
	case "BU":
		return Code{'M', 'M'}, true
	case "ZR":
		return Code{'C', 'D'}, true
	case "EL":
		return Code{'G', 'R'}, true
	}
	return c, false
}

// Check reports every code that is no country's, each with the remedy. The codes are exactly as in Countries.
func Check(codes []string) error {
	_, err := resolve(codes)
	return err
}

func resolve(codes []string) (map[Code]bool, error) {
	known := table()
	out := make(map[Code]bool, len(codes))
	var errs []error
	for _, s := range codes {
		if len(s) == 2 {
			if c := (Code{s[0], s[1]}); known[c] != "" {
				out[c] = true
				continue
			}
		}
		if s == "" {
			errs = append(errs, errors.New("country code is empty; write two letters such as DE"))
			continue
		}
		if len(s) > 40 {
			s = s[:40]
		}
		errs = append(errs, fmt.Errorf("country %q is unknown; %s", s, suggest(s)))
	}
	return out, errors.Join(errs...)
}

// suggest says what may have been meant.
func suggest(s string) string {
	up := strings.ToUpper(strings.TrimSpace(s))
	all := Countries()
	if len(up) == 2 {
		c := Code{up[0], up[1]}
		if o, ok := former(c); ok {
			c = o
		}
		if i := slices.IndexFunc(all, func(x Country) bool { return x.Code == c }); i >= 0 {
			return fmt.Sprintf("write %v (%s)", c, all[i].Name)
		}
	}
	// By its name first, then names that hold it, then codes that begin with the same letter.
	var hits []string
	add := func(match func(Country) bool) {
		for _, c := range all {
			if hit := fmt.Sprintf("%v (%s)", c.Code, c.Name); match(c) && !slices.Contains(hits, hit) {
				hits = append(hits, hit)
			}
		}
	}
	if len(up) > 2 {
		add(func(c Country) bool { return strings.HasPrefix(strings.ToUpper(c.Name), up) })
		add(func(c Country) bool { return strings.Contains(strings.ToUpper(c.Name), up) })
		if len(up) == 3 { // ISO 3166-1 alpha-3 mostly begins with alpha-2, or with the name
			add(func(c Country) bool { return c.Code.String() == up[:2] })
		}
	} else if up != "" {
		add(func(c Country) bool { return c.Code[0] == up[0] })
	}
	if len(hits) == 0 {
		return "write two letters of ISO 3166-1 such as DE (Germany)"
	}
	return "did you mean " + strings.Join(hits[:min(len(hits), 5)], ", ") + "?"
}
