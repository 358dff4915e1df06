package activity

import (
	"bytes"
	"encoding/json"
	"strings"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// Redact replaces the values of fields whose names say that they are secrets, at any depth. It is the net below callers,
// who leave secrets out: it knows names, not values. What is not JSON comes back as nothing.
func Redact(raw json.RawMessage) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil
	}
	if !redactValue(v) {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return out
}

// redactValue changes v in place and reports whether it did.
func redactValue(v any) (changed bool) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			changed = redactValue(item) || changed
		}
	case map[string]any:
		for name, item := range v {
			if item != nil && item != "" && secretName(name) {
				v[name], changed = redacted, true
				continue
			}
			changed = redactValue(item) || changed
		}
	}
	return changed
}

// secretName reports whether a field of that name holds a secret: its last word says so, or the last two do.
func secretName(name string) bool {
	var words strings.Builder // "apiKey", "api-key" and "API_KEY" are the same
	for i, r := range name {
		if r >= 'A' && r <= 'Z' && i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
			words.WriteByte('_')
		}
		words.WriteRune(r)
	}
	n := strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(strings.ToLower(words.String()))
	for _, end := range []string{"password", "passwd", "passphrase", "secret", "secrets", "token", "tokens", "cookie", "authorization", "credential", "credentials",
		"private_key", "privatekey", "api_key", "apikey", "secret_key", "access_key", "signing_key", "encryption_key", "license_key", "otp", "recovery_codes"} {
		if n == end || strings.HasSuffix(n, "_"+end) {
			return true
		}
	}
	return false
}
