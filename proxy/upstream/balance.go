package upstream

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
)

// member is a server with what a group says of it.
type member struct {
	*server
	weight  int
	backup  bool
	drain   bool
	key     uint64 // of ip_hash
	current int    // of round_robin
}

// candidate is a member that could take a request now.
type candidate struct {
	*member
	share int // weight, in thousandths
}

// pick chooses a server for a client, not one of those that were tried. full says that there would be one with room. The
// group is locked.
func (g *group) pick(client netip.Addr, tried []*member, now time.Time) (chosen *member, full bool) {
	for _, backup := range [...]bool{false, true} {
		able := g.scratch[:0]
		busy := false
		for _, m := range g.members {
			if m.backup != backup || m.drain || has(tried, m) {
				continue
			}
			s := m.standing(now, or(g.conf.SlowStart, 0))
			switch {
			case s == 0:
			case g.conf.MaxConnections > 0 && m.inFlight.Load() >= int64(g.conf.MaxConnections):
				busy = true
			default:
				able = append(able, candidate{m, max(m.weight*s, 1)})
			}
		}
		full = full || busy
		for len(able) > 0 {
			i := g.choose(able, client)
			if able[i].begin(now) {
				return able[i].member, false
			}
			able = append(able[:i], able[i+1:]...) // another request tries it already
		}
		if busy {
			return nil, true // it is waited for; backups are for servers that are down
		}
	}
	return nil, full
}

func has(list []*member, m *member) bool {
	for _, t := range list {
		if t == m {
			return true
		}
	}
	return false
}

// choose is the algorithm: the position of one in a list that is not empty.
func (g *group) choose(able []candidate, client netip.Addr) int {
	if len(able) == 1 {
		return 0
	}
	switch g.conf.Algorithm {
	case LeastConn:
		return leastConn(able)
	case IPHash:
		return ipHash(able, client)
	case PowerOfTwo:
		return powerOfTwo(able)
	}
	return roundRobin(able)
}

// roundRobin spreads requests by weight, so that those of one server do not come in a row: each gains its share, and the
// richest pays for all.
func roundRobin(able []candidate) int {
	best, total := 0, 0
	for i, c := range able {
		c.current += c.share
		total += c.share
		if c.current > able[best].current {
			best = i
		}
	}
	able[best].current -= total
	return best
}

// leastConn takes who has the fewest requests for its weight; among equals it goes round.
func leastConn(able []candidate) int {
	least := able[:0:0]
	var at []int
	for i, c := range able {
		if len(least) > 0 {
			switch d := load(c) - load(least[0]); {
			case d > 0:
				continue
			case d < 0:
				least, at = least[:0], at[:0]
			}
		}
		least, at = append(least, c), append(at, i)
	}
	return at[roundRobin(least)]
}

func load(c candidate) float64 { return float64(c.inFlight.Load()) / float64(c.share) }

// powerOfTwo takes the less busy of two that are drawn by weight.
func powerOfTwo(able []candidate) int {
	a := draw(able, -1)
	b := draw(able, a)
	if load(able[b]) < load(able[a]) {
		return b
	}
	return a
}

// draw takes one by weight, and not the one at position but.
func draw(able []candidate, but int) int {
	total := 0
	for i, c := range able {
		if i != but {
			total += c.share
		}
	}
	n, last := rand.IntN(total), 0
	for i, c := range able {
		if i == but {
			continue
		}
		if last = i; n < c.share {
			break
		}
		n -= c.share
	}
	return last
}

// ipHash gives a client the server that scores highest for it, so that when one goes only its own clients move. Addresses of
// IPv6 count by their /64, which is one site.
func ipHash(able []candidate, client netip.Addr) int {
	if client.Is6() {
		if p, err := client.Prefix(64); err == nil {
			client = p.Addr()
		}
	}
	a := client.As16()
	best, score := 0, math.Inf(-1)
	for i, c := range able {
		// Weighted rendezvous: the weight over minus the logarithm of a number in (0, 1].
		u := (float64(mix(a, c.key)>>11) + 1) / (1 << 53)
		if s := float64(c.weight) / -math.Log(u); s > score {
			best, score = i, s
		}
	}
	return best
}

// mix hashes a client with a server.
func mix(a [16]byte, key uint64) uint64 {
	h := key
	for _, b := range a {
		h = (h ^ uint64(b)) * 0x100000001b3 // FNV-1a
	}
	h ^= h >> 33 // and the finisher of MurmurHash3, because FNV's upper bits hardly change
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}
