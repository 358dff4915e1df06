package page

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPrefer(t *testing.T) {
	for accept, want := range map[string]Form{
		"": Text, "*/*": Text, "image/png": Text, "text/plain, */*": Text,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": HTML,
		"application/json, text/plain, */*":                               JSON,
		"application/problem+json":                                        JSON,
		"text/html;q=0.5, application/json":                               JSON,
		"text/html;q=0, text/plain":                                       Text,
		"application/json;q=0.1, text/plain;q=0.2":                        Text,
		"TEXT/HTML":     HTML,
		"text/html;q=x": Text,
	} {
		if got := Prefer([]string{accept}); got != want {
			t.Errorf("%q: got %d, want %d", accept, got, want)
		}
	}
}

// evil is a host that tries to leave every form.
const evil = `a"<b>'&\`

func TestVariablesAreEscaped(t *testing.T) {
	s, err := new(Loader).Load(Config{"404": {HTML: `<p title="$host">$status $title $request_id $ $nothing $statuses $$host</p>`,
		JSON: `{"status":$status,"host":"$host"}`, Text: "$status\n$host"}})
	if err != nil {
		t.Fatal(err)
	}
	v := &Values{Status: 404, Title: "Not Found", Host: evil + "\r\n", RequestID: "id"}
	b, _ := s.Find(HTML, "", v)
	if got, want := string(b), "<p title=\"a&#34;&lt;b&gt;&#39;&amp;\\\r\n\">404 Not Found id $ $nothing $statuses $a&#34;&lt;b&gt;&#39;&amp;\\\r\n</p>"; got != want {
		t.Errorf("HTML: got %q, want %q", got, want)
	}
	b, _ = s.Find(JSON, "", v)
	var j struct{ Host string }
	if err := json.Unmarshal(b, &j); err != nil || j.Host != v.Host {
		t.Errorf("JSON: got %q, %v", b, err)
	}
	if b, _ = s.Find(Text, "", v); string(b) != "404\n"+evil {
		t.Errorf("text: got %q", b)
	}
}

func TestFindsTheNearestPage(t *testing.T) {
	s, err := new(Loader).Load(Config{"503": {HTML: "one"}, "5xx": {HTML: "all", Text: "all"}, Maintenance: {HTML: "work"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		form   Form
		name   string
		status int
		want   string
	}{{HTML, "", 503, "one"}, {HTML, "", 502, "all"}, {HTML, Maintenance, 503, "work"}, {Text, Maintenance, 503, "all"}, {JSON, "", 503, ""}, {HTML, "", 404, ""}} {
		if b, ok := s.Find(x.form, x.name, &Values{Status: x.status}); string(b) != x.want || ok != (x.want != "") {
			t.Errorf("%+v: got %q", x, b)
		}
	}
	var none *Set
	if _, ok := none.Find(HTML, "", &Values{Status: 404}); ok {
		t.Error("no set has a page")
	}
}

func TestEveryMistakeIsSaid(t *testing.T) {
	err := Config{"200": {HTML: "x"}, "404": {}, "5xx": {JSON: "{$status", Text: strings.Repeat("x", maxInline+1), HTML: strings.Repeat("$host", maxVariables+1)}, "4xx": {HTML: "file://../x"}}.Validate()
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	for _, want := range []string{`["200"]`, `["404"]`, `["5xx"].json: is not JSON`, `["5xx"].text: has 65537 bytes`, `["5xx"].html: has 65 variables`, `["4xx"].html: "file://../x": write an absolute path`} {
		if !strings.Contains(strings.NewReplacer("404:", `["404"]:`, "200:", `["200"]:`, "5xx.", `["5xx"].`, "4xx.", `["4xx"].`).Replace(err.Error()), want) {
			t.Errorf("there is no %s in\n%v", want, err)
		}
	}
	if err := (Config{"404": {JSON: `{"status": $status, "host": "$host"}`, HTML: "<p>", Text: "t"}, Maintenance: {Text: "file:///srv/x"}}).Validate(); err != nil {
		t.Errorf("a right one: %v", err)
	}
}

func TestFiles(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(root, "404.html")
	write(at, "first $status")
	write(filepath.Join(root, "big"), strings.Repeat("x", maxFile+1))
	write(filepath.Join(outside, "secret"), "secret")
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &Loader{Roots: []string{root}}
	for path, want := range map[string]string{filepath.Join(root, "none"): "no such file", filepath.Join(root, "big"): "has 262145 bytes", filepath.Join(root, "link"): "escapes",
		filepath.Join(root, "fifo"): "no regular file", filepath.Join(outside, "secret"): "is not below a folder that may be served", root: "is not below"} {
		if _, err := l.Load(Config{"404": {Text: "file://" + path}}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "404.text: ") {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	s, err := l.Load(Config{"404": {HTML: "file://" + at}, "410": {HTML: "file://" + at}})
	if err != nil {
		t.Fatal(err)
	}
	if s.pages["404"][HTML] != s.pages["410"][HTML] {
		t.Error("one file is in memory twice")
	}
	show := func(now time.Time) string {
		return string(s.pages["404"][HTML].template(now).render(&Values{Status: 404}))
	}
	now := time.Now()
	if got := show(now); got != "first 404" {
		t.Errorf("got %q", got)
	}
	write(at, "second, longer")
	if got := show(now.Add(lookAgain / 2)); got != "first 404" {
		t.Errorf("it is looked at for each request: got %q", got)
	}
	if got := show(now.Add(2 * lookAgain)); got != "second, longer" {
		t.Errorf("after it was written anew: got %q", got)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if got := show(now.Add(4 * lookAgain)); got != "second, longer" {
		t.Errorf("after it was removed: got %q", got)
	}
}

func FuzzPage(f *testing.F) {
	f.Add("<p>$host $status</p>", evil)
	f.Fuzz(func(t *testing.T, text, host string) {
		for form := range forms {
			p, err := parse(form, text, maxInline)
			if err != nil {
				continue
			}
			if n := len(p.render(&Values{Host: host})); n > len(text)+maxVariables*(6*len(host)+10) {
				t.Errorf("%d bytes grew to %d", len(text), n)
			}
		}
	})
}
