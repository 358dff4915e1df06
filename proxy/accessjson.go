package proxy

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// AppendJSON writes a record as encoding/json does without escaping HTML, in a fifth of the time: one is written for each
// request.
func (a *Access) AppendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = a.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	text := func(name, value string) {
		if value != "" {
			b = appendText(append(b, name...), value)
		}
	}
	text(`,"id":`, a.ID)
	b = append(b, `,"client":"`...)
	if a.Client.IsValid() {
		b = a.Client.AppendTo(b)
	}
	b = append(b, '"')
	text(`,"method":`, a.Method)
	text(`,"host":`, a.Host)
	text(`,"path":`, a.Path)
	text(`,"query":`, a.Query)
	b = appendText(append(b, `,"protocol":`...), a.Protocol)
	text(`,"tls":`, a.TLS)
	text(`,"route":`, a.Route)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(a.Status), 10)
	b = strconv.AppendInt(append(b, `,"received":`...), a.Received, 10)
	b = strconv.AppendInt(append(b, `,"sent":`...), a.Sent, 10)
	b = appendText(append(b, `,"took":`...), a.Took.String())
	text(`,"agent":`, a.Agent)
	text(`,"referer":`, a.Referer)
	for i, id := range a.WAF {
		if i == 0 {
			b = append(b, `,"waf":[`...)
		} else {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	if len(a.WAF) > 0 {
		b = append(b, ']')
	}
	text(`,"stream":`, a.Stream)
	text(`,"backend":`, a.Backend)
	text(`,"ended":`, a.Ended)
	text(`,"reason":`, a.Reason)
	return append(b, '}')
}

// appendText writes a string; what is not plain ASCII is left to encoding/json.
func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			var out bytes.Buffer
			enc := json.NewEncoder(&out)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // a string never fails
			return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}
