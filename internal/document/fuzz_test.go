package document

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzDecode feeds text of any kind: it is read or refused with *Mistakes, and what was read survives Encode and Decode.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"version: 1\nlist:\n- comment: x\n", `{"version": 1, "tags": ["a", "\ud83d\ude00"]}`, "any: &a {b: *a}", "name: |\n  x\n", "? a\n: b\n",
		"name: 'it''s'\non: true # c\n", "targets: [192.0.2.0/24, 2001:db8::-2001:db8::9]", "--- !!map\nany: [1, .inf, 0x1f, ~]\n...\n", "\t", "{", laughs(),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v settings
		err := Decode(data, "f.yaml", &v)
		Locate(data, "list[1].comment")
		if err != nil {
			var ms *Mistakes
			if !errors.As(err, &ms) || len(ms.List) == 0 {
				t.Fatalf("got %T %v, want *Mistakes", err, err)
			}
			return
		}
		want, err := json.Marshal(v)
		if err != nil {
			return // times beyond the year 9999 have no JSON form
		}
		out, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		var back settings
		if err := Decode(out, "f.yaml", &back); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got, _ := json.Marshal(back); string(got) != string(want) {
			t.Fatalf("got  %s\nwant %s\nfrom %s", got, want, out)
		}
	})
}

// FuzzEncode writes texts and keys of any kind and reads them back.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", " ", "yes", "1:2", "# x", "- x", "a: b", "\u0085\u2028\x7f", "\x00", "2001:db8::1", "'", `"`, "010", "~", "<<", "a\tb", "é"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, s string) {
		if !utf8.ValidString(key) || !utf8.ValidString(s) {
			return
		}
		in := map[string][]string{key: {s, key}, "k" + key: {s}}
		out, err := Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		if err := Decode(out, "f.yaml", &got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		a, _ := json.Marshal(in)
		b, _ := json.Marshal(got)
		if string(a) != string(b) {
			t.Fatalf("got  %s\nwant %s\nfrom %s", b, a, out)
		}
	})
}
