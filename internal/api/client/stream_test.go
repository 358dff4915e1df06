package client

import (
	"slices"
	"strings"
	"testing"
)

func TestEventData(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     []string
	}{
		{"none", "", nil},
		{"one", "id: 1\ndata: {}\n\n", []string{"{}"}},
		{"two, with a comment", "data: 1\n\n: hello\n\nevent: x\ndata:2\n\n", []string{"1", "2"}},
		{"several lines", "data: a\ndata: b\n\n", []string{"a\nb"}},
		{"carriage returns", "data: a\r\n\r\n", []string{"a"}},
		{"cut off in the middle", "data: a\n\ndata: b\n", []string{"a"}},
	} {
		var got []string
		for data, err := range eventData(strings.NewReader(tc.in)) {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			got = append(got, string(data))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestEventDataIsBounded(t *testing.T) {
	line := "data: " + strings.Repeat("x", maxEvent/4) + "\n"
	for name, in := range map[string]string{"one line": "data: " + strings.Repeat("x", 2*maxEvent), "many lines": strings.Repeat(line, 5)} {
		var last error
		for _, err := range eventData(strings.NewReader(in)) {
			last = err
		}
		if last == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func FuzzEventData(f *testing.F) {
	for _, s := range []string{"data: {}\n\n", "id: 1\ndata: a\ndata: b\n\n", ":\n\n", "data", "\r\n\r\n", "data:\x00\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for data, err := range eventData(strings.NewReader(s)) {
			if err == nil && len(data) > len(s) {
				t.Fatalf("got %d bytes out of %d", len(data), len(s))
			}
		}
	})
}
