package limits

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// kinds of what is counted of a source. They are the lowest bits of a scope.
const (
	byClient = iota
	byNetwork
	byLogin
	byFailure
	kinds = 4
)

// key is a source in a scope: a kind of one route's limits.
type key struct {
	addr  uint64
	scope uint32 // never zero
}

// sourceKey shortens an address to what counts as one source: 64 bits of IPv6, or an IPv4 address in a part of that space
// which is nobody's (::/8, RFC 4291).
func sourceKey(a netip.Addr, scope uint32) key {
	if a.Is4() {
		b := a.As4()
		return key{0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:])), scope}
	}
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:8]), scope}
}

// networkKey shortens it further, to a /24 or a /48.
func networkKey(a netip.Addr, scope uint32) key {
	k := sourceKey(a, scope)
	if a.Is4() {
		k.addr &^= 0xff
	} else {
		k.addr &^= 0xffff
	}
	return k
}

// entry is what is known of a source. It is worth nothing, and may be taken for another, once nothing is open and until is
// over: a source without an entry is treated the same.
type entry struct {
	key
	open  uint32
	over  uint16 // refusals since it was last worth nothing
	late  uint16 // and how often it was held back
	tat   moment
	until moment
}

// Sizes of a table: entries lie in sets of ways; a key belongs to one set, which only the hash's secret seed tells. Each
// stripe has one lock and, for sources that find no place, one entry that they share.
const (
	ways    = 8
	stripes = 256
)

type stripe struct {
	sync.Mutex
	_ [56]byte // a cache line each
}

// table keeps entries in memory of a fixed size. It is safe for concurrent use, and allocates nothing after it was made.
type table struct {
	seed    maphash.Seed
	sets    uint64
	entries []entry // sets*ways, then one for each stripe
	locks   [stripes]stripe
}

func newTable(sources int) *table {
	sets := uint64(stripes)
	for sets*ways < uint64(sources) {
		sets *= 2
	}
	return &table{seed: maphash.MakeSeed(), sets: sets, entries: make([]entry, sets*ways+stripes)}
}

// place finds the entry of k or makes one, and gives its number. Its stripe is locked then; unlock is the caller's.
func (t *table) place(k key, now moment) (uint32, *entry) {
	var b [12]byte
	binary.LittleEndian.PutUint64(b[:], k.addr)
	binary.LittleEndian.PutUint32(b[8:], k.scope)
	set := maphash.Bytes(t.seed, b[:]) & (t.sets - 1)
	t.locks[set%stripes].Lock()
	first := set * ways
	var worst *entry
	var at uint64
	for i := first; i < first+ways; i++ {
		e := &t.entries[i]
		if e.key == k {
			return uint32(i), e
		}
		if e.open == 0 && (worst == nil || e.until < worst.until) {
			worst, at = e, i
		}
	}
	if worst == nil { // every one of them has requests under way
		at = t.sets*ways + set%stripes
		e := &t.entries[at]
		return uint32(at), e
	}
	*worst = entry{key: k, tat: now, until: now}
	return uint32(at), worst
}

func (t *table) unlock(at uint32) { t.locks[t.stripe(at)].Unlock() }

func (t *table) stripe(at uint32) uint64 {
	if n := uint64(at); n < t.sets*ways {
		return n / ways % stripes
	}
	return uint64(at) - t.sets*ways
}

// rememberOver is how long a refusal is remembered.
const rememberOver = moment(time.Minute)

// outcome is what the table says of a request.
type outcome struct {
	decision
	busy bool   // refused because too many are under way
	over int    // refusals, this one included
	at   uint32 // the entry, where held
	held bool
}

// admit counts a request of a source, and holds a place for it where b bounds how many are under way.
func (t *table) admit(k key, b *bucket, now moment, l *Limiter) outcome {
	at, e := t.place(k, now)
	defer t.unlock(at)
	if e.until < now {
		e.over, e.late = 0, 0
	}
	o := outcome{at: at, busy: b.concurrent > 0 && e.open >= b.concurrent}
	if o.busy {
		o.decision = decision{retry: time.Second}
	} else {
		o.decision = b.decide(e.tat, now, l.origin)
		if !o.admitted {
			e.tat = o.next // which is no further away than this limit can bring about
		}
		if o.wait > 0 {
			if e.late < maxHeld && l.mayWait() {
				e.late++
			} else {
				o.admitted, o.retry = false, o.wait
			}
		}
	}
	if !o.admitted {
		if e.over < math.MaxUint16 {
			e.over++
		}
		o.over = int(e.over)
		e.until = max(e.until, now+rememberOver)
		return o
	}
	e.tat = o.next
	e.until = max(e.until, e.tat)
	if b.concurrent > 0 {
		e.open++
		o.held = true
	}
	return o
}

// release gives a place back.
func (t *table) release(at uint32) {
	t.locks[t.stripe(at)].Lock()
	t.entries[at].open--
	t.unlock(at)
}

// known counts the sources that are worth remembering; for statistics.
func (t *table) known(now moment) (n int) {
	for s := range t.locks {
		t.locks[s].Lock()
		for set := uint64(s); set < t.sets; set += stripes {
			for i := range ways {
				if e := &t.entries[set*ways+uint64(i)]; e.scope != 0 && (e.open > 0 || e.until >= now) {
					n++
				}
			}
		}
		t.locks[s].Unlock()
	}
	return n
}
