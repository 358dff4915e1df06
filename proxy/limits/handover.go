package limits

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Snapshot is a part of what a Limiter knows of sources, for one that takes its place. Times in it are relative to when it
// was made, so that it means the same in a process with another origin of time; whoever takes it a moment later is a moment
// stricter.
type Snapshot struct {
	// Names are the routes that records speak of, by their position.
	Names []string `json:"names,omitempty"`
	// Records are of recordSize bytes each.
	Records []byte `json:"records,omitempty"`
	// Next is where the next part begins; 0 is nowhere.
	Next int `json:"next,omitempty"`
}

// A record: the kind (kinds is what all clients of a route have together), the position of the name (noName for failures, whose
// kind of failure is in their place), refusals, times held back, address, and how far in the future tat and until are.
const (
	recordSize = 1 + 2 + 2 + 2 + 8 + 8 + 8
	noName     = math.MaxUint16
	// maxRecords and maxNameBytes bound a part.
	maxRecords   = 12_000
	maxNameBytes = 64 << 10
	maxName      = 2 << 10
	// maxAhead bounds what is taken over: longer than that no source stays unwelcome for what another process says.
	maxAhead = moment(24 * time.Hour)
)

type record struct {
	kind       uint8
	name       uint16
	over, late uint16
	addr       uint64
	tat, until int64
}

func (r *record) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(append(b, r.kind), r.name)
	b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, r.over), r.late)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, r.addr), uint64(r.tat)), uint64(r.until))
}

func readRecord(b []byte) record {
	return record{kind: b[0], name: binary.LittleEndian.Uint16(b[1:]), over: binary.LittleEndian.Uint16(b[3:]), late: binary.LittleEndian.Uint16(b[5:]),
		addr: binary.LittleEndian.Uint64(b[7:]), tat: int64(binary.LittleEndian.Uint64(b[15:])), until: int64(binary.LittleEndian.Uint64(b[23:]))}
}

// part is a Snapshot that is being made.
type part struct {
	Snapshot
	at    map[string]uint16
	bytes int
}

// name gives the position of a name; ok is false where there is no room for another.
func (p *part) name(s string) (uint16, bool) {
	if i, there := p.at[s]; there {
		return i, true
	}
	if len(p.Names) == noName || len(s) > maxName || p.bytes+len(s) > maxNameBytes {
		return 0, false
	}
	i := uint16(len(p.Names))
	p.at[s], p.Names, p.bytes = i, append(p.Names, s), p.bytes+len(s)+8
	return i, true
}

func (p *part) full() bool { return len(p.Records) >= maxRecords*recordSize }

// Snapshot gives one part, of which the first begins at 0. What is under way is left out: it stays with this process. Whatever
// does not matter any more is left out too.
func (l *Limiter) Snapshot(from int) Snapshot {
	now := l.moment()
	p := &part{at: map[string]uint16{}}
	names := map[uint32]string{}
	l.mu.Lock()
	for name, s := range l.routes {
		names[s.id] = name
		s.mu.Lock()
		tat := s.tat
		s.mu.Unlock()
		// Half of a part at most: the other half is for sources, so that each part has some.
		if from == 0 && tat > now && len(p.Records) < maxRecords*recordSize/2 && p.bytes < maxNameBytes/2 {
			if i, ok := p.name(name); ok {
				p.Records = (&record{kind: kinds, name: i, tat: int64(tat - now)}).append(p.Records)
			}
		}
	}
	l.mu.Unlock()
	for set := max(from, 0); set < int(l.table.sets); set++ {
		if p.full() || !l.table.snapshot(set, now, names, p) {
			p.Next = set
			break
		}
	}
	return p.Snapshot
}

// snapshot puts a set of entries into a part. It reports false, and has put in nothing that matters, where there is no room.
func (t *table) snapshot(set int, now moment, names map[uint32]string, p *part) bool {
	lock := &t.locks[uint64(set)%stripes]
	lock.Lock()
	defer lock.Unlock()
	before := len(p.Records)
	for i := set * ways; i < (set+1)*ways; i++ {
		e := &t.entries[i]
		if e.scope == 0 || e.until < now {
			continue
		}
		r := record{kind: uint8(e.scope % kinds), name: noName, over: e.over, late: e.late, addr: e.addr, tat: int64(e.tat - now), until: int64(e.until - now)}
		if id := e.scope / kinds; id != scopeFailures {
			name, there := names[id]
			if !there {
				continue // of a route that is gone
			}
			var ok bool
			if r.name, ok = p.name(name); !ok {
				p.Records = p.Records[:before]
				return before == 0 // alone in a part it would never fit
			}
		}
		p.Records = r.append(p.Records)
	}
	return true
}

// Take adds what another Limiter knew. It only ever makes limits stricter, and taking the same twice changes nothing. What is in
// s is bounded and checked: it may come from a process that was taken over.
func (l *Limiter) Take(s Snapshot) error {
	if len(s.Records)%recordSize != 0 || len(s.Records) > (maxRecords+ways)*recordSize || len(s.Names) > noName {
		return fmt.Errorf("take limits: %d bytes with %d names are no part", len(s.Records), len(s.Names))
	}
	states, size := make([]*state, len(s.Names)), 0
	for _, name := range s.Names {
		if size += len(name); size > maxNameBytes {
			return fmt.Errorf("take limits: names of more than %d bytes", maxNameBytes)
		}
	}
	l.mu.Lock()
	for i, name := range s.Names {
		states[i] = l.stateOf(name)
	}
	l.mu.Unlock()
	now := l.moment()
	for b := s.Records; len(b) > 0; b = b[recordSize:] {
		r := readRecord(b)
		tat, until := now+clamp(r.tat), now+clamp(r.until)
		if r.kind > kinds || r.name != noName && int(r.name) >= len(states) || r.kind == kinds && r.name == noName {
			return fmt.Errorf("take limits: a record speaks of kind %d, name %d", r.kind, r.name)
		}
		if r.kind == kinds {
			st := states[r.name]
			st.mu.Lock()
			st.tat = max(st.tat, tat)
			st.mu.Unlock()
			continue
		}
		scope := uint32(scopeFailures)
		if r.name != noName {
			scope = states[r.name].id
		}
		k := key{r.addr, scope*kinds + uint32(r.kind)}
		at, e := l.table.place(k, now)
		if e.key == k { // and not the one that is shared where there is no place
			e.tat, e.until = max(e.tat, tat), max(e.until, until)
			e.over, e.late = max(e.over, r.over), max(e.late, min(r.late, maxHeld))
		}
		l.table.unlock(at)
	}
	return nil
}

func clamp(ahead int64) moment { return min(max(moment(ahead), 0), maxAhead) }
