package apps

import (
	"cmp"
	"fmt"
	"net/netip"
)

// The address plan. Each app has a network of 16 IPv4 addresses and a /64 of IPv6.
const (
	DefaultPool4 = "10.212.0.0/16"
	DefaultPool6 = "fd70:6c61:7466::/48"
	bits4        = 28
	bits6        = 64
)

// Places in an app's network, counted from its first address.
const (
	placeGateway = 1
	placeSlotA   = 2
	placeSlotB   = 3
	placeAddons  = 4 // and those that follow
)

// MostApps is how many networks the smaller pool has.
func (c *Config) MostApps() int {
	p, err := netip.ParsePrefix(c.pool4())
	if err != nil || p.Bits() > bits4 {
		return 0
	}
	return min(1<<(bits4-p.Bits())-1, 65535)
}

func (c *Config) pool4() string { return cmp.Or(c.Pool4, DefaultPool4) }
func (c *Config) pool6() string { return cmp.Or(c.Pool6, DefaultPool6) }

// Subnets are the networks of the app with this number.
func (c *Config) Subnets(number int) (v4, v6 netip.Prefix) {
	four, _ := netip.ParsePrefix(c.pool4())
	six, _ := netip.ParsePrefix(c.pool6())
	return netip.PrefixFrom(plus(four.Masked().Addr(), number<<(32-bits4)), bits4), netip.PrefixFrom(plus64(six.Masked().Addr(), number), bits6)
}

// plus adds to the low 32 bits of an address.
func plus(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	for i := len(b) - 1; n > 0 && i >= 0; i-- {
		n += int(b[i])
		b[i], n = byte(n), n>>8
	}
	out, _ := netip.AddrFromSlice(b)
	return out
}

// plus64 adds to the network part of an IPv6 address.
func plus64(a netip.Addr, n int) netip.Addr {
	b := a.As16()
	for i := 7; n > 0 && i >= 0; i-- {
		n += int(b[i])
		b[i], n = byte(n), n>>8
	}
	return netip.AddrFrom16(b)
}

// placeOf is the place of a slot.
func placeOf(slot string) int {
	if slot == SlotB {
		return placeSlotB
	}
	return placeSlotA
}

// Address is where the app's version in this slot is reached.
func (c *Config) Address(a *App, slot string) netip.Addr {
	v4, _ := c.Subnets(a.Network)
	return plus(v4.Addr(), placeOf(slot))
}

// Bridge is the name of the app's interface on the host; at most 15 bytes (IFNAMSIZ, linux/if.h).
func (a *App) Bridge() string { return fmt.Sprintf("br-app%d", a.Network) }
