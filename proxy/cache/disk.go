package cache

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// diskTier keeps the bodies of large objects as files of a folder that is its own. An object is two files of one name: NAME.body,
// and NAME.json with everything else, written last, so that what has a .json is whole. Both come to their names by rename.
// Nothing is synced: what a crash leaves behind is found out by length and digest.
type diskTier struct {
	dir      string
	most     int64
	variants int

	mu    sync.Mutex
	byKey map[string][]*diskObject
	order *list.List // of *diskObject, the one used last at the front
	bytes int64
}

// diskObject is one stored object.
type diskObject struct {
	tier    *diskTier
	object  *object
	name    string
	length  int64
	digest  [sha256.Size]byte
	cost    int64
	element *list.Element

	check    sync.Once
	checkErr error
}

// diskMeta is the content of NAME.json.
type diskMeta struct {
	Meta   meta   `json:"meta"`
	Length int64  `json:"length"`
	Digest string `json:"sha256"`
}

const (
	bodyExt = ".body"
	metaExt = ".json"
	tempExt = ".temp"
	// blockBytes is what a file takes beside its content.
	blockBytes = 4096
)

// openDisk reads what a former process left in dir, and removes what is not whole.
func openDisk(dir string, most int64, variants int) (*diskTier, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	t := &diskTier{dir: dir, most: most, variants: variants, byKey: map[string][]*diskObject{}, order: list.New()}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	whole := map[string]bool{}
	var found []*diskObject
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), metaExt); ok {
			if d, err := t.read(name); err == nil {
				found = append(found, d)
				whole[name] = true
			}
		}
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if slices.Contains([]string{bodyExt, metaExt, tempExt}, ext) && !whole[strings.TrimSuffix(e.Name(), ext)] {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	slices.SortFunc(found, func(a, b *diskObject) int { return a.object.Received.Compare(b.object.Received) })
	for _, d := range found {
		t.insert(d)
	}
	return t, nil
}

// read makes a diskObject of two files; the digest is looked at when the object is used for the first time.
func (t *diskTier) read(name string) (*diskObject, error) {
	f, err := os.Open(filepath.Join(t.dir, name+metaExt))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, err
	}
	var m diskMeta
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	digest, err := hex.DecodeString(m.Digest)
	info, statErr := os.Lstat(filepath.Join(t.dir, name+bodyExt))
	switch {
	case err != nil || len(digest) != sha256.Size || m.Meta.Key == "" || m.Meta.Status < 200 || m.Meta.Status > 999:
		return nil, errors.New("not of ours")
	case statErr != nil:
		return nil, statErr
	case !info.Mode().IsRegular() || info.Size() != m.Length:
		return nil, errors.New("the body is not whole")
	}
	return t.object(name, m.Meta, m.Length, [sha256.Size]byte(digest), int64(len(data))), nil
}

func (t *diskTier) object(name string, m meta, length int64, digest [sha256.Size]byte, metaBytes int64) *diskObject {
	d := &diskObject{tier: t, name: name, length: length, digest: digest, cost: length + metaBytes + 2*blockBytes}
	d.object = &object{meta: m, body: d}
	return d
}

// create makes a file for a body that is still growing.
func (t *diskTier) create() (*os.File, error) {
	return os.OpenFile(filepath.Join(t.dir, rand.Text()+tempExt), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// put takes over a finished spool. It is the newest object of its key, in place of the one of the same variant.
func (t *diskTier) put(m meta, s *spool) error {
	s.mu.Lock()
	temp, length, digest := s.file.Name(), s.length, [sha256.Size]byte(s.digest.Sum(nil))
	s.mu.Unlock()
	name := strings.TrimSuffix(filepath.Base(temp), tempExt)
	if !m.isText() {
		return fmt.Errorf("store %s: a field is not UTF-8, and JSON cannot hold it", m.Key)
	}
	if err := os.Rename(temp, filepath.Join(t.dir, name+bodyExt)); err != nil {
		return fmt.Errorf("store %s: %w", m.Key, err)
	}
	metaBytes, err := t.writeMeta(name, m, length, digest)
	if err != nil {
		os.Remove(filepath.Join(t.dir, name+bodyExt))
		return fmt.Errorf("store %s: %w", m.Key, err)
	}
	d := t.object(name, m, length, digest, metaBytes)
	d.check.Do(func() {}) // written by us just now
	t.insert(d)
	return nil
}

// isText reports whether JSON gives every string back as it was.
func (m *meta) isText() bool {
	for name, values := range m.Header {
		if !utf8.ValidString(name) || slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }) {
			return false
		}
	}
	invalid := func(s selecting) bool { return !utf8.ValidString(s.Name) || !utf8.ValidString(s.Value) }
	return utf8.ValidString(m.Key) && !slices.ContainsFunc(m.Vary, invalid) &&
		!slices.ContainsFunc(m.Tags, func(t string) bool { return !utf8.ValidString(t) })
}

func (t *diskTier) writeMeta(name string, m meta, length int64, digest [sha256.Size]byte) (int64, error) {
	data, err := json.Marshal(diskMeta{Meta: m, Length: length, Digest: hex.EncodeToString(digest[:])})
	if err != nil {
		return 0, err
	}
	temp := filepath.Join(t.dir, rand.Text()+tempExt)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		os.Remove(temp)
		return 0, err
	}
	if err := os.Rename(temp, filepath.Join(t.dir, name+metaExt)); err != nil {
		os.Remove(temp)
		return 0, err
	}
	return int64(len(data)), nil
}

// insert makes d known, and room for it.
func (t *diskTier) insert(d *diskObject) {
	t.mu.Lock()
	defer t.mu.Unlock()
	others := t.byKey[d.object.Key]
	kept := []*diskObject{d}
	for _, o := range others {
		if o.object.sameVariant(&d.object.meta) || len(kept) >= t.variants {
			t.forget(o)
			continue
		}
		kept = append(kept, o)
	}
	t.byKey[d.object.Key] = kept
	d.element = t.order.PushFront(d)
	t.bytes += d.cost
	for t.bytes > t.most && t.order.Len() > 0 {
		t.remove(t.order.Back().Value.(*diskObject))
	}
}

// forget takes o's files and its place in the order away; the lock is held. Who has it open reads on.
func (t *diskTier) forget(o *diskObject) {
	t.order.Remove(o.element)
	t.bytes -= o.cost
	// The body first: without it the rest is recognised as not whole.
	os.Remove(filepath.Join(t.dir, o.name+bodyExt))
	os.Remove(filepath.Join(t.dir, o.name+metaExt))
}

// remove is forget, and out of its key's list; the lock is held.
func (t *diskTier) remove(o *diskObject) {
	rest := slices.DeleteFunc(slices.Clone(t.byKey[o.object.Key]), func(d *diskObject) bool { return d == o })
	if len(rest) == 0 {
		delete(t.byKey, o.object.Key)
	} else {
		t.byKey[o.object.Key] = rest
	}
	t.forget(o)
}

func (t *diskTier) find(key string) []*object {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*object
	for _, d := range t.byKey[key] {
		out = append(out, d.object)
	}
	return out
}

// refresh gives a stored body a new meta.
func (t *diskTier) refresh(d *diskObject, m meta) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.byKey[d.object.Key], d) {
		return nil // dropped meanwhile
	}
	if _, err := t.writeMeta(d.name, m, d.length, d.digest); err != nil {
		return err
	}
	d.object = &object{meta: m, body: d}
	t.order.MoveToFront(d.element)
	return nil
}

func (t *diskTier) drop(key string, f func(*meta) bool) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range slices.Clone(t.byKey[key]) {
		if f(&d.object.meta) {
			t.remove(d)
			n++
		}
	}
	return n
}

func (t *diskTier) keys() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.byKey))
}

func (t *diskTier) usage() (objects int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.order.Len(), t.bytes
}

func (d *diskObject) size() int64 { return d.length }

// open opens the body. One that a former process wrote is read once from end to end before any of it is sent; a damaged
// one is dropped.
func (d *diskObject) open() (io.ReadSeekCloser, error) {
	f, err := os.Open(filepath.Join(d.tier.dir, d.name+bodyExt))
	if err != nil {
		d.damaged()
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != d.length {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errors.New("the length has changed")}
	}
	d.check.Do(func() {
		h := sha256.New()
		if _, d.checkErr = io.Copy(h, f); d.checkErr == nil && [sha256.Size]byte(h.Sum(nil)) != d.digest {
			d.checkErr = errors.New("the digest is another")
		}
		if d.checkErr == nil {
			_, d.checkErr = f.Seek(0, io.SeekStart)
		}
	})
	if err == nil {
		err = d.checkErr
	}
	if err != nil {
		f.Close()
		d.damaged()
		return nil, err
	}
	d.tier.mu.Lock()
	if d.element.Value != nil && slices.Contains(d.tier.byKey[d.object.Key], d) {
		d.tier.order.MoveToFront(d.element)
	}
	d.tier.mu.Unlock()
	return f, nil
}

func (d *diskObject) damaged() {
	d.tier.mu.Lock()
	defer d.tier.mu.Unlock()
	if slices.Contains(d.tier.byKey[d.object.Key], d) {
		d.tier.remove(d)
	}
}
