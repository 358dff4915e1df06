package document

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/ratelimit"
)

type settings struct {
	Version int                        `json:"version"`
	Name    string                     `json:"name,omitempty"`
	On      bool                       `json:"on,omitempty"`
	Port    uint16                     `json:"port,omitempty"`
	Level   int8                       `json:"level,omitempty"`
	Share   float64                    `json:"share,omitempty"`
	Tags    []string                   `json:"tags,omitempty"`
	Targets []ranges.Range             `json:"targets,omitempty"`
	Limits  map[string]ratelimit.Limit `json:"limits,omitempty"`
	Every   firewall.Duration          `json:"every,omitempty"`
	Since   time.Time                  `json:"since,omitzero"`
	Inner   inner                      `json:"inner,omitzero"`
	Pointer *inner                     `json:"pointer,omitempty"`
	List    []inner                    `json:"list,omitempty"`
	Any     any                        `json:"any,omitempty"`
	Hidden  int                        `json:"-"`
}

type inner struct {
	Enabled bool   `json:"enabled,omitempty"`
	Comment string `json:"comment,omitempty"`
}

var compare = []cmp.Option{
	cmp.Comparer(func(a, b ranges.Range) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func mustRange(t *testing.T, s string) ranges.Range {
	t.Helper()
	r, err := ranges.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDecode(t *testing.T) {
	want := settings{
		Version: 1, Name: "NO", On: true, Port: 22, Level: -3, Share: 1.5,
		Tags:    []string{"a", "22", "1e3", "true", "010"},
		Targets: []ranges.Range{mustRange(t, "192.0.2.0/24"), mustRange(t, "2001:db8::1")},
		Limits:  map[string]ratelimit.Limit{"ssh": {Rate: 5, Per: 10 * time.Second}},
		Every:   firewall.Duration(time.Hour),
		Since:   time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		Inner:   inner{Enabled: true},
		Pointer: &inner{Comment: "two\nlines\n"},
		List:    []inner{{Comment: "x"}, {Comment: "x"}},
	}
	tests := []struct{ name, in string }{
		{"yaml", `# a comment
version: 1
name: NO
on: true
port: 22
level: -3
share: 1.5
tags: [a, 22, 1e3, true, 010]
targets:
- 192.0.2.0/24
- 2001:db8::1
limits: {ssh: 5/10s}
every: 1h
since: 2026-01-31T12:00:00Z
inner:
  enabled: true
pointer:
  comment: |
    two
    lines
list:
  - &one
    comment: x
  - *one
`},
		{"json with tabs", "{\n\t\"version\": 1, \"name\": \"NO\", \"on\": true, \"port\": 22, \"level\": -3, \"share\": 1.5,\n" +
			"\t\"tags\": [\"a\", 22, 1e3, true, \"010\"],\n\t\"targets\": [\"192.0.2.0/24\", \"2001:db8::1\"],\n" +
			"\t\"limits\": {\"ssh\": \"5/10s\"}, \"every\": \"1h\", \"since\": \"2026-01-31T12:00:00Z\",\n" +
			"\t\"inner\": {\"enabled\": true}, \"pointer\": {\"comment\": \"two\\nlines\\n\"}, \"list\": [{\"comment\": \"\\u0078\"}, {\"comment\": \"x\"}]}"},
		{"byte order mark", "\xef\xbb\xbf---\nversion: 1\nname: NO\non: true\nport: 22\nlevel: -3\nshare: 1.5\ntags: [a, 22, 1e3, true, 010]\ntargets: [192.0.2.0/24, '2001:db8::1']\n" +
			"limits:\n  ssh: 5/10s\nevery: 1h0m\nsince: 2026-01-31T12:00:00Z\ninner: {enabled: true}\npointer: {comment: \"two\\nlines\\n\"}\nlist: [{comment: x}, {comment: \"x\"}]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got settings
			if err := Decode([]byte(tt.in), "f.yaml", &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compare...); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestDecodeKeepsWhatIsNotNamed(t *testing.T) {
	got := settings{Version: 1, Name: "kept", Tags: []string{"old"}, Limits: map[string]ratelimit.Limit{"old": {Concurrent: 1}}}
	before := got
	if err := Decode([]byte("tags: [new]\nlimits: {}\n"), "f.yaml", &got); err != nil {
		t.Fatal(err)
	}
	want := settings{Version: 1, Name: "kept", Tags: []string{"new"}}
	if diff := cmp.Diff(want, got, compare...); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if len(before.Limits) != 1 || before.Tags[0] != "old" {
		t.Errorf("the old values were changed in place: %+v", before)
	}
}

func TestDecodeMistakes(t *testing.T) {
	tests := []struct {
		name, file, in string
		want           []string // parts of the messages, in order
	}{
		{"all at once", "p.yaml", "version: one\nnam: x\nport: 70000\ntargets:\n  - 10.0.0.0/33\n  - 192.0.2.1\nlimits:\n  ssh: 5\nlist:\n- comment: [1]\n  enbled: true\n", []string{
			`p.yaml:1:10: version: "one" must be a whole number`,
			`p.yaml:2:1: nam: unknown field; did you mean "name"?`,
			`p.yaml:3:7: port: 70000 is out of range; must be between 0 and 65535`,
			`p.yaml:5:5: targets[0]: prefix "10.0.0.0/33": prefix length must be a number from 0 to 32`,
			`p.yaml:8:8: limits.ssh: limit "5": "5" is not understood`,
			`p.yaml:10:12: list[0].comment: must be a text, not a list`,
			`p.yaml:11:3: list[0].enbled: unknown field; did you mean "enabled"?`,
		}},
		{"json", "p.json", "{\n  \"version\": 1,\n  \"list\": [\n    {\"coment\": \"x\"},\n    7\n  ],\n  \"version\": 2\n}", []string{
			`p.json:4:6: list[0].coment: unknown field; did you mean "comment"?`,
			`p.json:5:5: list[1]: must be a mapping of fields, not a number`,
			`p.json:7:3: version: is written twice; it is already in line 2`,
		}},
		{"json syntax", "p.json", "{\n  \"version\": 1,\n}", []string{`p.json:3:1: invalid character '}'`}},
		{"json cut", "p.json", "{\n  \"version\": 1", []string{`p.json:2:15: the text ends in the middle of the document`}},
		{"json twice", "p.json", "{}\n{}", []string{`p.json:2:1: invalid character '{' after top-level value`}},
		{"duplicate", "p.yaml", "version: 1\nlimits:\n  a: 5/s\n  a: 6/s\nversion: 1\n", []string{
			`p.yaml:4:3: limits.a: is written twice; it is already in line 3`, `p.yaml:5:1: version: is written twice; it is already in line 1`}},
		{"yaml syntax", "p.yaml", "version: 1\nname: \"open\nport: 1\n", []string{`p.yaml:2:7: `}},
		{"scalar for a list", "p.yaml", "tags: x", []string{`tags: must be a list, not a text; write [x]`}},
		{"mapping for a list", "p.yaml", "list:\n  comment: x", []string{`list: must be a list, not a mapping; start each item with a dash`}},
		{"list for a mapping", "p.yaml", "limits: [x]", []string{`limits: must be a mapping of names to values, not a list`}},
		{"yes", "p.yaml", "on: yes", []string{`on: "yes" must be true or false`}},
		{"octal", "p.yaml", "port: 0022", []string{`port: 0022 must be a whole number, written in decimal`}},
		{"negative", "p.yaml", "port: -1", []string{`port: -1 is out of range; must be between 0 and 65535`}},
		{"range of a signed field", "p.yaml", "level: 128", []string{`level: 128 is out of range; must be between -128 and 127`}},
		{"fraction", "p.yaml", "version: 1.5", []string{`version: 1.5 must be a whole number`}},
		{"duration", "p.yaml", "every: 12", []string{`p.yaml:1:8: every: `}},
		{"time", "p.yaml", "since: yesterday", []string{`since: "yesterday" is not a time; write for example`}},
		{"list for a text form", "p.yaml", "every: [1h]", []string{`every: must be a text, not a list`}},
		{"empty", "p.yaml", "", []string{`the document is empty`}},
		{"only a comment", "p.yaml", "# nothing\n", []string{`the document is empty`}},
		{"two documents", "p.yaml", "version: 1\n---\nversion: 2\n", []string{`p.yaml:3:8: a second document starts here`}},
		{"scalar", "p.yaml", "hello", []string{`must be a mapping of fields, not a text`}},
		{"unknown alias", "p.yaml", "name: *x", []string{`alias *x: there is no anchor &x before it`}},
		{"alias of itself", "p.yaml", "any: &a [*a]", []string{`alias *a: there is no anchor &a before it`}},
		{"merge key", "p.yaml", "inner: &a {enabled: true}\npointer:\n  <<: *a\n", []string{`merge keys (<<) are not used here`}},
		{"tag", "p.yaml", "name: !secret x", []string{`tag !secret: tags are not used here`}},
		{"no suggestion", "p.yaml", "inner: {zzzzzzzz: 1}", []string{`inner.zzzzzzzz: unknown field; known are enabled, comment`}},
		{"left out", "p.yaml", "Hidden: 1", []string{`Hidden: unknown field`}},
		{"flow depth", "p.yaml", "any: " + strings.Repeat("[", 100000), []string{`nested deeper than 32`}},
		{"json depth", "p.json", strings.Repeat("[", 100000), []string{`the document is nested too deep`}},
		{"block depth", "p.yaml", strings.Repeat("- ", 100000) + "x", []string{`indented by more than`}},
		{"explicit key depth", "p.yaml", strings.Repeat("? ", 100000) + "x", []string{`indented by more than`}},
		{"fields", "p.yaml", fields("", maxKeys+1), []string{`p.yaml:1001:1: a mapping has more than 1000 fields`}},
		{"fields below", "p.yaml", "limits:\n" + fields("  ", maxKeys+1), []string{`p.yaml:1002:3: a mapping has more than 1000 fields`}},
		{"fields in brackets", "p.yaml", "limits: {" + strings.ReplaceAll(fields("", maxKeys+1), "\n", ", ") + "}", []string{`a mapping has more than 1000 fields`}},
		{"documents", "p.yaml", strings.Repeat("---\nversion: 1\n", 9), []string{`p.yaml:5:1: a third document starts here`}},
		{"anchors", "p.yaml", "any: [" + strings.Repeat("&a x, ", 100) + "]", []string{`more than 64 anchors and tags`}},
		{"size", "p.yaml", "name: " + strings.Repeat("x", MaxBytes), []string{`at most 16777216 are read`}},
		{"laughs", "p.yaml", laughs(), []string{`expands to too much`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := settings{Name: "before"}
			err := Decode([]byte(tt.in), tt.file, &got)
			var ms *Mistakes
			if !errors.As(err, &ms) {
				t.Fatalf("got error %v, want *Mistakes", err)
			}
			lines := strings.Split(err.Error(), "\n")
			for i, want := range tt.want {
				if i >= len(lines) || !strings.Contains(lines[i], want) {
					t.Errorf("line %d: got:\n%v\nwant %s", i, err, want)
				}
			}
			if len(tt.want) > 1 && len(ms.List) != len(tt.want) {
				t.Errorf("got %d mistakes, want %d:\n%v", len(ms.List), len(tt.want), err)
			}
			if diff := cmp.Diff(settings{Name: "before"}, got, compare...); diff != "" {
				t.Errorf("the target was changed:\n%s", diff)
			}
		})
	}
}

// fields are n lines "kN: 1/s".
func fields(indent string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sk%d: 1/s\n", indent, i)
	}
	return b.String()
}

func TestManyMappingsOfFewFields(t *testing.T) {
	var got settings
	in := "limits:\n" + fields("  ", maxKeys) + "list:\n" + strings.Repeat("- comment: x\n  enabled: true\n", 3*maxKeys) +
		"any: [" + strings.Repeat("{a: 1, b: 2}, ", maxKeys) + "]\nname: x\n"
	if err := Decode([]byte(in), "p.yaml", &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Limits) != maxKeys || len(got.List) != 3*maxKeys || got.Name != "x" {
		t.Errorf("got %d limits, %d items, name %q", len(got.Limits), len(got.List), got.Name)
	}
}

// laughs is a document of a few lines whose aliases expand to 10^9 values.
func laughs() string {
	var b strings.Builder
	b.WriteString("any:\n- &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 8 {
		one := "*a" + string(rune('0'+i))
		b.WriteString("- &a" + string(rune('1'+i)) + " [" + strings.TrimSuffix(strings.Repeat(one+", ", 10), ", ") + "]\n")
	}
	return b.String()
}

func TestMistakesAreBounded(t *testing.T) {
	var got settings
	err := Decode([]byte("targets: ["+strings.Repeat("x, ", MaxMistakes+5)+"]"), "", &got)
	var ms *Mistakes
	if !errors.As(err, &ms) || len(ms.List) != MaxMistakes || ms.More != 5 {
		t.Fatalf("got %v", err)
	}
	if !strings.HasSuffix(err.Error(), "\nand 5 more") {
		t.Errorf("got %q", err.Error()[len(err.Error())-40:])
	}
}

type pathError struct{ path, reason string }

func (e *pathError) Error() string     { return e.path + ": " + e.reason }
func (e *pathError) FieldPath() string { return e.path }

func TestPlace(t *testing.T) {
	data := []byte("version: 1\nlist:\n- comment: a\n- comment: b\n  enabled: true\nlimits:\n  a.b: 5/s\n")
	in := errors.Join(&pathError{"list[1].enabled", "is wrong"}, errors.New("all is wrong"),
		errors.Join(&pathError{`limits["a.b"]`, "too many"}, &pathError{"list[1].missing.deeper", "is needed"}))
	got := Place(in, data, "p.yaml").Error()
	want := "p.yaml: all is wrong\np.yaml:4:3: list[1].missing.deeper: is needed\np.yaml:5:3: list[1].enabled: is wrong\np.yaml:7:3: limits[\"a.b\"]: too many"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if err := Place(nil, data, ""); err != nil {
		t.Errorf("got %v for no error", err)
	}
	if line, col := Locate([]byte("\x00: ["), "a"); line != 0 || col != 0 {
		t.Errorf("got %d, %d for text that is not YAML", line, col)
	}
}

func TestEncode(t *testing.T) {
	in := settings{
		Version: 1, Name: "yes", Port: 22, Tags: []string{"22", "eth0", "a, b"},
		Targets: []ranges.Range{mustRange(t, "192.0.2.0/24"), mustRange(t, "2001:db8::1")},
		Limits:  map[string]ratelimit.Limit{"http": {Rate: 50, Per: time.Second}, "a.b": {Concurrent: 3}},
		List:    []inner{{Enabled: true, Comment: "asked for by # nobody"}, {}, {Comment: "line\nbreak"}},
	}
	want := `version: 1
name: "yes"
port: 22
tags: ["22", eth0, "a, b"]
targets: [192.0.2.0/24, "2001:db8::1"]
limits:
  a.b: concurrent 3
  http: 50/s
every: 0s
list:
  - enabled: true
    comment: "asked for by # nobody"
  - {}
  - comment: "line\nbreak"
`
	want = strings.Replace(want, "every: 0s\n", "", 1)
	got, err := Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	var back settings
	if err := Decode(got, "f.yaml", &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, back, compare...); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
