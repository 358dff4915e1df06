package proxy

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestNormalPath(t *testing.T) {
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"/", "/", nil},
		{"/a/b.txt", "/a/b.txt", nil},
		{"//a///b/", "/a/b/", nil},
		{"/a/./b/../c", "/a/c", nil},
		{"/a/..", "/", nil},
		{"/a/.", "/a/", nil},
		{"/../../etc", "/etc", nil},
		{"/%2e%2E/etc", "/etc", nil},
		{"/%61%7Eb", "/a~b", nil},
		{"/a%2fb", "/a%2Fb", nil},
		{"/a%20b c", "/a%20b%20c", nil},
		{"/\xc3\xa4", "/%C3%A4", nil},
		{"/.well-known/x", "/.well-known/x", nil},
		{"/..x", "/..x", nil},
		{"/a;v=1/b", "/a;v=1/b", nil},
		{"", "", errPathForm},
		{"*", "", errPathForm},
		{"/%", "", errPathEscape},
		{"/%2", "", errPathEscape},
		{"/%zz", "", errPathEscape},
		{"/a%00b", "", errPathControl},
		{"/a\x01b", "", errPathControl},
		{"/a%0d%0aX:%20y", "", errPathControl},
		{"/public/..%2fadmin", "", errPathHidden},
		{"/public/%2e%2e%2fadmin", "", errPathHidden},
		{"/public/..%5cadmin", "", errPathHidden},
		{`/public/..\admin`, "", errPathHidden},
		{"/public/..;/admin", "", errPathHidden},
		{"/public/x%2f..%2fadmin", "", errPathHidden},
	} {
		got, err := normalPath(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q: got %q, %v, want %q, %v", c.in, got, err, c.want, c.err)
		}
	}
}

// FuzzNormalPath: the form is stable, has no dot segments however it is read, and means the same as what came in.
func FuzzNormalPath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2e/", "/a%2f..%2f", "//x//", "/..;/", "/%c3%a4 \\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := normalPath(in)
		if err != nil {
			return
		}
		if again, err := normalPath(got); again != got || err != nil {
			t.Errorf("%q: %q becomes %q, %v", in, got, again, err)
		}
		plain, err := url.PathUnescape(got)
		if err != nil || got[0] != '/' || strings.Contains(got, "//") {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
		for s := range strings.SplitSeq(strings.ReplaceAll(plain, `\`, "/"), "/") {
			if s == "." || s == ".." {
				t.Errorf("%q: %q has dot segments", in, got)
			}
		}
	})
}

func TestJoinPath(t *testing.T) {
	for _, c := range []struct{ base, rest, want string }{
		{"/app/", "/v1/users", "/app/v1/users"},
		{"/app", "/v1", "/app/v1"},
		{"", "", "/"},
		{"/", "", "/"},
		{"", "/users", "/users"},
		{"/", "/users", "/users"},
		{"/app/", "", "/app/"},
		{"/app", "", "/app"},
		{"/app/", "/", "/app/"},
	} {
		if got := joinPath(c.base, c.rest); got != c.want {
			t.Errorf("%q + %q: got %q, want %q", c.base, c.rest, got, c.want)
		}
	}
}

func TestNormalHost(t *testing.T) {
	for in, want := range map[string]string{
		"example.org": "example.org", "Example.ORG:8443": "example.org", "example.org.": "example.org", "10.0.0.1:80": "10.0.0.1",
		"[2001:DB8::1]:443": "[2001:db8::1]", "[::1]": "[::1]",
		"": "", "a b": "", "a/b": "", "[::1": "", "[::1]x": "", "a:b": "", "a:": "", "..": "", "a..b": "", "x@y": "", "[fe80::1%eth0]": "",
	} {
		got, err := normalHost(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestQuery(t *testing.T) {
	for q, want := range map[string]bool{"": true, "a=b&c": true, "a%20b+c": true, "\"<>{}|\\^`\xc3\xa9": true, "a b": false, "a HTTP/1.1\r\nX: y": false, "a\tb": false, "a\x00": false, "a\x7f": false, "a#b": false} {
		if got := judgeQuery(q) == nil; got != want {
			t.Errorf("%q: got %v, want %v", q, got, want)
		}
	}
}
