package state

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/platformd/platformd/firewall"
)

// Every type in the document must be one that clone copies deeply; it panics on others, and this is where.
func TestEveryTypeOfTheDocumentCanBeCloned(t *testing.T) {
	var s State
	fill(reflect.ValueOf(&s).Elem(), 0)
	got := clone(&s)
	if !reflect.DeepEqual(s, got) {
		t.Errorf("the copy differs: %s", cmp.Diff(s, got, compareRanges))
	}
}

// fill puts something into every field.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		item := reflect.New(v.Type().Elem()).Elem()
		fill(item, depth+1)
		v.SetMapIndex(reflect.ValueOf("key"), item)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	default:
		if v.CanInt() {
			v.SetInt(3)
		}
		if v.CanUint() {
			v.SetUint(3)
		}
	}
}

// The bytes that are reused from the document before must make the same document as encoding/json.
func TestEncodeAgreesWithJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s, pool := Default(), withBlocks(50).Firewall.Blocks
	var before *encoded
	for range 500 {
		switch b := s.Firewall.Blocks; {
		case rnd.IntN(20) == 0:
			s.Firewall.Blocks = nil
		case rnd.IntN(3) == 0 && len(b) > 0:
			i := rnd.IntN(len(b))
			s.Firewall.Blocks = append(append([]firewall.Block(nil), b[:i]...), b[i+1:]...)
		default:
			i, n := rnd.IntN(len(b)+1), pool[rnd.IntN(len(pool))]
			n.Until = time.Unix(int64(rnd.IntN(3))*1e6, 0)
			s.Firewall.Blocks = append(append(append([]firewall.Block(nil), b[:i]...), n), b[i:]...)
		}
		if rnd.IntN(5) == 0 {
			s.Firewall.Disabled = !s.Firewall.Disabled
		}
		e, err := encode(&s, before)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(e.doc)
		if err != nil {
			t.Fatalf("%v\n%s", err, e.doc)
		}
		if again, err := json.Marshal(&got); err != nil || !bytes.Equal(again, want) {
			t.Fatalf("got  %s\nwant %s\n%v", again, want, err)
		}
		if before != nil {
			p := diffBytes(before.doc, e.doc)
			if doc, err := p.apply(before.doc); err != nil || !bytes.Equal(doc, e.doc) {
				t.Fatalf("patch: %v", err)
			}
		}
		before = e
	}
}

func TestPatchThatDoesNotFit(t *testing.T) {
	for _, p := range []patch{{prefix: 4}, {prefix: 2, suffix: 2}, {suffix: 4}, {prefix: -1}, {suffix: -1}} {
		if _, err := p.apply([]byte("abc")); err == nil {
			t.Errorf("%+v was applied to 3 bytes", p)
		}
	}
}

func TestPatches(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 2000)
	changed := bytes.Clone(long)
	changed[9000] = 'x'
	for _, tt := range []struct{ a, b []byte }{
		{nil, nil}, {nil, long}, {long, nil}, {long, long}, {long, changed}, {[]byte("aaa"), []byte("aaaa")}, {[]byte("aaaa"), []byte("aa")}, {long, append(long[:5000:5000], long[5100:]...)},
	} {
		p := diffBytes(tt.a, tt.b)
		if got, err := p.apply(tt.a); err != nil || !bytes.Equal(got, tt.b) {
			t.Errorf("%d to %d bytes: got %d bytes, %v", len(tt.a), len(tt.b), len(got), err)
		}
	}
	if p := diffBytes(long, changed); len(p.data) != 1 {
		t.Errorf("one byte changed: the patch has %d", len(p.data))
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, in := range []string{`{"version":1,"unknown":2}`, `{"version":1} x`, `{"version":`, `[]`} {
		if _, err := decode([]byte(in)); err == nil {
			t.Errorf("%s was read", in)
		}
	}
}

func TestBanDurations(t *testing.T) {
	b := BanPolicy{Reasons: map[string]BanReason{"login": {Strikes: 2, First: firewall.Duration(time.Minute)}, "off": {Disabled: true}}}
	tests := []struct {
		reason string
		nth    int
		want   time.Duration
	}{
		{"sshd", 0, 10 * time.Minute}, {"sshd", 1, 40 * time.Minute}, {"sshd", 2, 160 * time.Minute}, {"sshd", 9, 7 * 24 * time.Hour}, {"sshd", 1 << 40, 7 * 24 * time.Hour},
		{"login", 0, time.Minute}, {"login", 1, 4 * time.Minute},
	}
	for _, tt := range tests {
		if got := b.For(tt.reason).Duration(tt.nth); got != tt.want {
			t.Errorf("%s, %d: got %v, want %v", tt.reason, tt.nth, got, tt.want)
		}
	}
	if got := (BanPolicy{Factor: 1}).WithDefaults().Duration(1 << 40); got != 10*time.Minute {
		t.Errorf("factor 1: got %v, want the first duration for ever", got)
	}
	if got := b.For("login").Strikes; got != 2 {
		t.Errorf("got %d strikes, want 2", got)
	}
	if !b.For("off").Disabled || b.For("sshd").Disabled {
		t.Error("a reason that is disabled must be so alone")
	}
}

func TestZeroValueIsValid(t *testing.T) {
	s := State{Version: Version}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	d := Default()
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}
