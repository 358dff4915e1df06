package proxy

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

// TestAccessJSONHasEveryField: a field that a record gets is written, too.
func TestAccessJSONHasEveryField(t *testing.T) {
	var a Access
	v := reflect.ValueOf(&a).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f = v.Type().Field(i).Name
		case *int:
			*f = i
		case *int64:
			*f = int64(i)
		case *[]int:
			*f = []int{i}
		case *time.Time:
			*f = time.Unix(1, 0).UTC()
		case *netip.Addr:
			*f = netip.MustParseAddr("2001:db8::1")
		case *field.Duration:
			*f = field.Duration(i)
		default:
			t.Fatalf("nobody writes a %T", f)
		}
	}
	want, err := json.Marshal(&a)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(a.AppendJSON(nil)); got != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzAccessJSON: a record is written as encoding/json would write it.
func FuzzAccessJSON(f *testing.F) {
	f.Add("id", "GET", "a.test", "/x?y", "b=c", "HTTP/1.1", "agent \"x\" <a&b>", "\\", "r\x00\u2028\xff\x7f", int64(1732118400123456789), int64(1500), 200, []byte{192, 0, 2, 1}, 942100)
	f.Add("", "", "", "", "", "", "", "", "", int64(0), int64(0), 0, []byte{}, 0)
	f.Add("", "ä", "", "", "", "", "", "", "", int64(1), int64(3600e9), 599, []byte("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"), -1)
	f.Fuzz(func(t *testing.T, id, method, host, path, query, protocol, agent, referer, reason string, at, took int64, status int, client []byte, rule int) {
		a := Access{Time: time.Unix(0, at).UTC(), ID: id, Method: method, Host: host, Path: path, Query: query, Protocol: protocol, TLS: reason, Route: host, Status: status,
			Received: at, Sent: took, Took: field.Duration(took), Agent: agent, Referer: referer, Stream: path, Backend: agent, Ended: id, Reason: reason}
		a.Client, _ = netip.AddrFromSlice(client)
		if rule != 0 {
			a.WAF = []int{rule, 1}
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(&a); err != nil {
			return // a year that is none
		}
		if got := string(a.AppendJSON(nil)) + "\n"; got != want.String() {
			t.Errorf("got  %s\nwant %s", got, want.String())
		}
	})
}
