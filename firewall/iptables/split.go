package iptables

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/platformd/platformd/firewall/ranges"
)

// split yields the shortest list of prefixes that covers exactly r, without allocating; ipset knows no prefix of length 0,
// so a whole family is two halves.
func split(r ranges.Range, yield func(netip.Prefix) error) error {
	a, b := wide(r.From), wide(r.To)
	width := r.From.BitLen()
	for {
		// The largest block that begins at a, is aligned, and does not reach beyond b.
		size := min(a.trailingZeros(), b.minus(a).plusOne().log2(), width-1)
		if err := yield(netip.PrefixFrom(a.addr(width), width-size)); err != nil {
			return err
		}
		last := a.or(size)
		if last == b {
			return nil
		}
		a = last.plusOne().value()
	}
}

// uint128 is an address as a number; IPv4 uses the low 32 bits.
type uint128 struct{ hi, lo uint64 }

func wide(a netip.Addr) uint128 {
	if a.Is4() {
		b := a.As4()
		return uint128{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (u uint128) addr(width int) netip.Addr {
	if width == 32 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(u.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], u.hi)
	binary.BigEndian.PutUint64(b[8:], u.lo)
	return netip.AddrFrom16(b)
}

func (u uint128) trailingZeros() int {
	if u.lo != 0 {
		return bits.TrailingZeros64(u.lo)
	}
	return 64 + bits.TrailingZeros64(u.hi)
}

func (u uint128) minus(v uint128) uint128 {
	lo, borrow := bits.Sub64(u.lo, v.lo, 0)
	hi, _ := bits.Sub64(u.hi, v.hi, borrow)
	return uint128{hi, lo}
}

// or sets the lowest n bits.
func (u uint128) or(n int) uint128 {
	if n >= 64 {
		return uint128{u.hi | (1<<(n-64) - 1), ^uint64(0)}
	}
	return uint128{u.hi, u.lo | (1<<n - 1)}
}

// sum is a uint128 with the carry of plusOne.
type sum struct {
	uint128
	carry uint64
}

func (u uint128) plusOne() sum {
	lo, c := bits.Add64(u.lo, 1, 0)
	hi, c := bits.Add64(u.hi, 0, c)
	return sum{uint128{hi, lo}, c}
}

func (s sum) value() uint128 { return s.uint128 }

// log2 is rounded down; of a carry alone it is 128.
func (s sum) log2() int {
	switch {
	case s.carry != 0:
		return 128
	case s.hi != 0:
		return 127 - bits.LeadingZeros64(s.hi)
	}
	return 63 - bits.LeadingZeros64(s.lo)
}
