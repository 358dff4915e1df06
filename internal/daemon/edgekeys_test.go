package daemon

import (
	"bytes"
	"testing"
	"time"
)

func TestTicketKeysRotate(t *testing.T) {
	e, now := &edge{}, time.Now()
	if !e.rotate(now) || e.rotate(now.Add(rotateKeys-time.Second)) {
		t.Fatal("the first key is not made at once, or another too early")
	}
	first := e.keys
	for i := 1; i < 5; i++ {
		before := e.keys
		if !e.rotate(now.Add(time.Duration(i) * rotateKeys)) {
			t.Fatal("it is time, and there is no other key")
		}
		if len(e.keys.Tickets) > keepTickets || bytes.Equal(e.keys.Tickets[0], before.Tickets[0]) || !bytes.Equal(e.keys.Tickets[1], before.Tickets[0]) {
			t.Errorf("after %d turns: %d keys, or not the last one first", i, len(e.keys.Tickets))
		}
	}
	if !bytes.Equal(e.keys.Reset, first.Reset) {
		t.Error("the key of resets changed: clients would not know them")
	}
}
