package activity

import (
	"encoding/json"
	"testing"
)

func TestRedact(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", `{"b": 1, "a": [1.50]}`, `{"b": 1, "a": [1.50]}`},
		{"password", `{"user":"a","password":"x"}`, `{"password":"[redacted]","user":"a"}`},
		{"any depth", `[{"x":{"client_secret":"s","n":12345678901234567890}}]`, `[{"x":{"client_secret":"[redacted]","n":12345678901234567890}}]`},
		{"spelling", `{"apiKey":1,"API-KEY":"2","SecretKey":{"a":1}}`, `{"API-KEY":"[redacted]","SecretKey":"[redacted]","apiKey":"[redacted]"}`},
		{"empty is no secret", `{"password":"","token":null}`, `{"password":"","token":null}`},
		{"not a secret", `{"key":"ssh","tokenizer":"x","passwords_changed":1,"monkey":"x"}`, `{"key":"ssh","tokenizer":"x","passwords_changed":1,"monkey":"x"}`},
		{"not JSON", `{"password":"x"`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(Redact(json.RawMessage(tt.in))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
