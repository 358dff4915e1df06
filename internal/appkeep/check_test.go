package appkeep

import (
	"strings"
	"testing"
)

// TestParseStatus: what an app answers first is a status line, or it does not speak HTTP.
func TestParseStatus(t *testing.T) {
	for line, want := range map[string]int{
		"HTTP/1.1 200 OK\r\n": 200, "HTTP/1.0 503\r\n": 503, "HTTP/1.1 404 \n": 404, "HTTP/1.1 301": 301,
	} {
		if got, ok := parseStatus(line); !ok || got != want {
			t.Errorf("%q: got %d, %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "\n", "HTTP/2 200", "HTTP/1.1 99 x", "HTTP/1.1 2000", "HTTP/1.1 600 x", "HTTP/1.1  20", "HTTP/1.1 +20 x", "HTTP/1.1-200 OK", "SSH-2.0-OpenSSH_9.2", strings.Repeat("H", 600)} {
		if got, ok := parseStatus(line); ok {
			t.Errorf("%q was taken for %d", line, got)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n")
	f.Fuzz(func(t *testing.T, line string) {
		if n, ok := parseStatus(line); ok && (n < 100 || n > 599 || !strings.HasPrefix(line, "HTTP/1.")) {
			t.Errorf("%q was taken for %d", line, n)
		}
	})
}
