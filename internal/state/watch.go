package state

import "context"

// Watch delivers the current revision at once, and each new one after it (also a confirmation, which changes only how a
// revision is settled). A receiver that is slow finds the newest and misses those between: look at Current, not at what
// you were told. The channel is closed when ctx ends or the store is closed. A writer never waits for a receiver.
func (s *Store) Watch(ctx context.Context) <-chan Revision {
	ch := make(chan Revision, 1)
	s.mu.Lock()
	ch <- s.cur.Load().rev
	s.watchers[ch] = struct{}{}
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, open := s.watchers[ch]; open {
			delete(s.watchers, ch)
			close(ch)
		}
	})
	return ch
}

func (s *Store) notify(rev Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.watchers {
		// Only this function sends, under the lock, so there is room after the old one is taken out.
		select {
		case <-ch:
		default:
		}
		ch <- rev
	}
}
