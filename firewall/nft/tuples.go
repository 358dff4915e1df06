package nft

import (
	"bytes"
	"encoding/hex"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// A tuple is an element of a set whose key has several fields: one key, or every key that lies between two in each field.
type tuple struct {
	from, to []byte    // to is nil in a set of single keys
	until    time.Time // zero is never
}

func (t tuple) id() string { return hex.EncodeToString(t.from) + "-" + hex.EncodeToString(t.to) }

// tuples is a set that is replaced as a whole.
func tuples(name string, key nftables.SetDatatype, members []tuple) *set {
	slices.SortFunc(members, func(a, b tuple) int { return bytes.Compare(a.from, b.from) })
	return &set{name: name, kind: kindTuples, generations: true, key: key, tuples: members}
}

func digestTuples(in []tuple) string {
	ids := make([]string, len(in))
	for i, t := range in {
		ids[i] = t.id()
	}
	slices.Sort(ids)
	return digestLines(len(ids), func(i int) string { return ids[i] })
}

func (t tuple) element(now time.Time) (e nftables.SetElement, ok bool) {
	e = nftables.SetElement{Key: t.from, KeyEnd: t.to}
	if now.IsZero() || t.until.IsZero() {
		return e, true
	}
	e.Timeout, ok = remaining(firewall.Timed{Until: t.until}, now)
	return e, ok
}

func tupleElements(in []tuple, now time.Time) []nftables.SetElement {
	var out []nftables.SetElement
	for _, t := range in {
		if e, ok := t.element(now); ok {
			out = append(out, e)
		}
	}
	return out
}

// decodeTuples is the inverse of element.
func decodeTuples(elements []nftables.SetElement, now time.Time) []tuple {
	var out []tuple
	for _, e := range elements {
		t := tuple{from: e.Key, to: e.KeyEnd}
		if e.Timeout != 0 || e.Expires != 0 {
			t.until = now.Add(e.Expires)
		}
		out = append(out, t)
	}
	return out
}

// compound reports whether a key type is one of several fields: each has six bits.
func compound(keyType uint32) bool { return keyType>>nftables.SetConcatTypeBits != 0 }

// tupleDifference is as difference.
func tupleDifference(have, want []tuple, now time.Time) (remove, renew, add []tuple) {
	old := map[string]tuple{}
	for _, t := range have {
		old[t.id()] = t
	}
	for _, t := range want {
		if _, ok := t.element(now); !ok {
			continue
		}
		was, there := old[t.id()]
		delete(old, t.id())
		switch {
		case !there:
			add = append(add, t)
		case was.until.IsZero() != t.until.IsZero() || was.until.Sub(t.until).Abs() > expirySlack:
			renew = append(renew, t)
		}
	}
	for _, t := range have {
		if _, gone := old[t.id()]; gone {
			remove = append(remove, t)
		}
	}
	return remove, renew, add
}

// The keys of the sets of segments.

func ownKey(f family) nftables.SetDatatype {
	return nftables.MustConcatSetType(nftables.TypeIFName, f.typ)
}
func namedPortKey(f family) nftables.SetDatatype {
	return nftables.MustConcatSetType(nftables.TypeIFName, f.typ, nftables.TypeInetService)
}
func reachKey(f family) nftables.SetDatatype {
	return nftables.MustConcatSetType(f.typ, f.typ, nftables.TypeInetService)
}
func peerKey(f family) nftables.SetDatatype {
	return nftables.MustConcatSetType(f.typ, nftables.TypeInetProto, nftables.TypeInetService)
}

// A field loads a part of a packet, of length bytes, into a register.
type field struct {
	text   string
	length uint32
	load   func(register uint32) expr.Any
}

func payload(text string, base expr.PayloadBase, offset, length uint32) field {
	return field{text, length, func(r uint32) expr.Any {
		return &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: r, Base: base, Offset: offset, Len: length}
	}}
}

func meta(text string, key expr.MetaKey, length uint32) field {
	return field{text, length, func(r uint32) expr.Any { return &expr.Meta{Key: key, Register: r} }}
}

func inField() field    { return meta("iifname", expr.MetaKeyIIFNAME, unix.IFNAMSIZ) }
func protoField() field { return meta("meta l4proto", expr.MetaKeyL4PROTO, 1) }
func portField() field  { return payload("th dport", expr.PayloadBaseTransportHeader, 2, 2) }
func (f family) from() field {
	return payload(f.word+" saddr", expr.PayloadBaseNetworkHeader, f.src, f.len)
}
func (f family) towards() field {
	return payload(f.word+" daddr", expr.PayloadBaseNetworkHeader, f.dst, f.len)
}

// inSet matches what has its fields in a set of the family.
func inSet(f family, name string, fields ...field) stmt {
	s := stmt{exprs: f.only()}
	at := uint32(0) // in units of four bytes
	for i, x := range fields {
		if i > 0 {
			s.text += " . "
		}
		s.text += x.text
		// The kernel says the register of sixteen bytes where a field begins at one.
		r := uint32(unix.NFT_REG32_00) + at
		if at%4 == 0 {
			r = reg + at/4
		}
		s.exprs = append(s.exprs, x.load(r))
		at += (x.length + 3) / 4
	}
	s.text += " @" + name + f.digit
	s.exprs = append(s.exprs, lookup(name+f.digit))
	return s
}

func fromOwn(f family, name string) stmt { return inSet(f, name, inField(), f.from()) }
func fromTo(f family, name string) stmt  { return inSet(f, name, inField(), f.towards()) }
func fromToPort(f family, name string) stmt {
	return inSet(f, name, inField(), f.towards(), portField())
}
func reaches(f family, name string) stmt { return inSet(f, name, f.from(), f.towards(), portField()) }
func peer(f family, name string) stmt    { return inSet(f, name, f.towards(), protoField(), portField()) }
