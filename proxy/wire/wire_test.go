package wire

import (
	"strings"
	"testing"
)

func TestField(t *testing.T) {
	for line, want := range map[string][2]string{
		"A: b": {"A", "b"}, "A:b": {"A", "b"}, "A:": {"A", ""}, "A:\t b \t": {"A", "b"}, "A: b\tc": {"A", "b\tc"}, "A: \xff": {"A", "\xff"}, "X_Y!: z:": {"X_Y!", "z:"},
	} {
		name, value, reason := Field([]byte(line))
		if reason != "" || string(name) != want[0] || string(value) != want[1] {
			t.Errorf("%q: got %q, %q, %s", line, name, value, reason)
		}
	}
	for _, line := range []string{"", " A: b", "\tA: b", "A : b", "A", ": b", "A\x00: b", "A: \x00", "A: b\rc", "A: \x7f", "Ä: b", "A b: c", "(A): b"} {
		if name, value, reason := Field([]byte(line)); reason == "" {
			t.Errorf("%q: got %q, %q, want it refused", line, name, value)
		}
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "00": 0, "1a": 26, "FF": 255, "5;x=y": 5, "5 ;x": 5, "5\t;": 5, "7fffffffffffff": 1<<55 - 1} {
		if got, ok := ChunkSize([]byte(text)); !ok || got != want {
			t.Errorf("chunk %q: got %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", " 5", "5 ", "0x5", "-1", "+1", "g", ";x", "1_0", "1234567890123456", "5;\x01", "5;\r"} {
		if got, ok := ChunkSize([]byte(text)); ok {
			t.Errorf("chunk %q: got %d, want it refused", text, got)
		}
	}
	for text, want := range map[string]int64{"0": 0, "007": 7, "999999999999999999": 999999999999999999} {
		if got, ok := Length([]byte(text)); !ok || got != want {
			t.Errorf("length %q: got %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "+1", "-1", "1 ", "0x1", "1,1", "9999999999999999999", "１"} {
		if got, ok := Length([]byte(text)); ok {
			t.Errorf("length %q: got %d, want it refused", text, got)
		}
	}
}

func TestWords(t *testing.T) {
	if !Is([]byte("Transfer-ENCODING"), "transfer-encoding") || Is([]byte("Transfer_Encoding"), "transfer-encoding") || Is([]byte("\x0dontent-Length"), "content-length") {
		t.Error("words are compared wrongly")
	}
	for _, name := range []string{"Content-Length", "transfer-encoding", "HOST", "Trailer", "TE", "Upgrade", "Connection"} {
		if !Framing([]byte(name)) {
			t.Errorf("%s may be a trailer", name)
		}
	}
	if Framing([]byte("Grpc-Status")) || IsToken(nil) || IsToken([]byte("a b")) || !IsToken([]byte("a-b")) {
		t.Error("words are taken wrongly")
	}
}

// TestBody: lines that make a chunked body, and those that do not.
func TestBody(t *testing.T) {
	long := strings.Repeat("Xy: z\n", MaxTrailers/7+1)
	for lines, want := range map[string]string{
		"5\n\n3;x=y\n\n0\n\n":       "",
		"0\nA: b\nA: c\n\n":         "",
		"5\nx\n":                    "a chunk is longer than its size",
		"-1\n":                      "a chunk has a bad size",
		"0\nContent-Length: 1\n":    "a trailer changes what the head said",
		"0\nTransfer-Encoding: x\n": "a trailer changes what the head said",
		"0\n" + long:                "the trailers are too long",
	} {
		b := Body{Phase: AtSize}
		reason := ""
		for line := range strings.Lines(lines) {
			if reason = b.Step([]byte(strings.TrimSuffix(line, "\n"))); reason != "" {
				break
			}
			if b.Phase == InChunk {
				half := int(b.Left / 2)
				b.Took(half)
				if b.Phase != InChunk {
					t.Errorf("%q: a chunk ended before its size", lines)
				}
				b.Took(int(b.Left))
				if b.Phase != BehindChunk {
					t.Errorf("%q: phase %d behind a chunk", lines, b.Phase)
				}
			}
		}
		if reason != want || want == "" && b.Phase != AtEnd {
			t.Errorf("%.20q: got %q, phase %d; want %q", lines, reason, b.Phase, want)
		}
	}
	b := Body{Phase: InLength, Left: 3}
	if b.Took(3); b.Phase != AtEnd {
		t.Errorf("a body with a length: got phase %d at its end", b.Phase)
	}
}
