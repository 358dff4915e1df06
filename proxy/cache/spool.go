package cache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
)

// errTooLarge says that a body outgrew what may be stored.
var errTooLarge = errors.New("body is too large to be stored")

// spool takes a body in while others read it: in memory up to a bound, then in a file, up to another.
type spool struct {
	memory, most int64
	create       func() (*os.File, error) // nil where there is no disk

	mu      sync.Mutex
	grown   chan struct{} // closed and made anew whenever something changes
	data    []byte
	file    *os.File
	digest  hash.Hash
	length  int64
	done    bool
	err     error
	flushes int // how often the writer flushed; readers do it too, when they have all there is
	open    int // readers, and the writer; at zero the file goes
}

func newSpool(memory, most int64, create func() (*os.File, error)) *spool {
	return &spool{memory: memory, most: most, create: create, grown: make(chan struct{}), open: 1}
}

// wake must be called with the lock held.
func (s *spool) wake() {
	close(s.grown)
	s.grown = make(chan struct{})
}

// Write implements io.Writer. Nothing of p was taken where it answers errTooLarge, and the spool goes on as it is.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := s.length + int64(len(p))
	if after > s.most || after > s.memory && s.create == nil {
		return 0, errTooLarge
	}
	if s.file == nil && after > s.memory {
		if err := s.spill(); err != nil {
			return 0, errTooLarge // a disk that is full or gone is no reason to fail the request
		}
	}
	if s.file != nil {
		if n, err := s.file.WriteAt(p, s.length); err != nil || n < len(p) {
			return 0, errTooLarge
		}
		s.digest.Write(p)
	} else {
		s.data = append(s.data, p...)
	}
	s.length = after
	s.wake()
	return len(p), nil
}

func (s *spool) spill() error {
	f, err := s.create()
	if err != nil {
		return err
	}
	digest := sha256.New()
	digest.Write(s.data)
	if _, err := f.WriteAt(s.data, 0); err != nil {
		f.Close()
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	// Readers that look at data now keep what they see.
	s.file, s.digest, s.data = f, digest, nil
	return nil
}

// flush makes readers flush.
func (s *spool) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	s.wake()
}

// finish says that the body is whole, or why it is not.
func (s *spool) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.done, s.err = true, err
		s.wake()
	}
}

// copyTo writes the body to w as it grows. It ends with the body, with the error the body ended with, or with w's. At
// a stop it returns early, having written all there was.
func (s *spool) copyTo(w io.Writer, flush func(), stop <-chan struct{}) (n int64, err error) {
	buffer := make([]byte, 32<<10)
	flushed := 0
	for {
		s.mu.Lock()
		var chunk []byte
		file, grown, done, failed, asked := s.file, s.grown, s.done, s.err, s.flushes
		length := s.length
		if file == nil {
			chunk = s.data[n:]
		}
		s.mu.Unlock()

		switch {
		case n < length && file != nil:
			got, err := file.ReadAt(buffer[:min(int64(len(buffer)), length-n)], n)
			if got == 0 {
				return n, fmt.Errorf("read spooled body: %w", err)
			}
			chunk = buffer[:got]
			fallthrough
		case n < length:
			wrote, err := w.Write(chunk)
			n += int64(wrote)
			if err != nil {
				return n, err
			}
			continue
		case done:
			return n, failed
		}
		select {
		case <-stop:
			s.mu.Lock()
			all := n == s.length
			s.mu.Unlock()
			if all {
				return n, nil
			}
			continue
		default:
		}
		if asked > flushed {
			flush()
			flushed = asked
		}
		select {
		case <-grown:
		case <-stop:
		}
	}
}

// retain and release count who still needs the file.
func (s *spool) retain() {
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
}

func (s *spool) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open--; s.open > 0 || s.file == nil {
		return
	}
	s.file.Close()
	os.Remove(s.file.Name()) // it has another name by now where it was stored
}

// inMemory is the whole body as bytes; ok is false where it is in a file.
func (s *spool) inMemory() (memoryBody, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		return nil, false
	}
	return bytes.Clone(s.data), true // without the room that it grew in
}

// memoryBody is a body in memory.
type memoryBody []byte

func (b memoryBody) open() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(b)}, nil }
func (b memoryBody) size() int64                      { return int64(len(b)) }

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }
