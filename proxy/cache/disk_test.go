package cache

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/proxytest"
)

// diskRig is a store whose objects are all on disk, in front of a handler that sends 10 KiB of the path.
func diskRig(t *testing.T, dir string, most int64) (*rig, *proxytest.Server) {
	t.Helper()
	r := newRig(t, StoreConfig{Dir: dir, DiskBytes: most, MemoryObjectBytes: 100, MaxObjectBytes: min(most, 1<<20)}, Config{})
	return r, proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"e"`)
		if q.Header.Get("If-None-Match") == `"e"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, strings.Repeat(q.URL.Path, 10<<10/len(q.URL.Path)))
	}))
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDiskSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	_, s := diskRig(t, dir, 1<<20)
	host := []string{"Host", "example.com"}
	want := s.Get("/one", host...).Text
	s.Get("/two", host...)
	os.WriteFile(filepath.Join(dir, "left.temp"), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(dir, "orphan.body"), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(dir, "orphan2.json"), []byte("{}"), 0o600)
	os.WriteFile(filepath.Join(dir, "foreign.txt"), []byte("x"), 0o600)

	r, s := diskRig(t, dir, 1<<20)
	if got := r.store.Stats(); got.DiskObjects != 2 || got.DiskBytes < 20<<10 {
		t.Errorf("after a restart: %+v", got)
	}
	if got := s.Get("/one", host...); got.Text != want || status(got) != "platform; hit; ttl=60" {
		t.Errorf("got %d bytes, %q", len(got.Text), status(got))
	}
	if got := s.Get("/one", append(host, "Range", "bytes=1-3")...); got.Text != "one" {
		t.Errorf("range: %q", got.Text)
	}
	if left := append(files(t, dir, "*.temp"), files(t, dir, "orphan*")...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if len(files(t, dir, "foreign.txt")) == 0 {
		t.Error("removed what is not its own")
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
}

// TestDamage: what is not what was written is never sent.
func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(body, meta string) error
	}{
		{"a byte flipped", func(body, _ string) error {
			data, err := os.ReadFile(body)
			if err == nil {
				data[5000] ^= 1
				err = os.WriteFile(body, data, 0o600)
			}
			return err
		}},
		{"cut", func(body, _ string) error { return os.Truncate(body, 5000) }},
		{"longer", func(body, _ string) error {
			f, err := os.OpenFile(body, os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				f.Write([]byte("more"))
				f.Close()
			}
			return err
		}},
		{"body gone", func(body, _ string) error { return os.Remove(body) }},
		{"meta gone", func(_, meta string) error { return os.Remove(meta) }},
		{"meta cut", func(_, meta string) error { return os.Truncate(meta, 50) }},
		{"meta empty", func(_, meta string) error { return os.Truncate(meta, 0) }},
		{"body is a folder", func(body, _ string) error {
			os.Remove(body)
			return os.Mkdir(body, 0o700)
		}},
	} {
		for _, restart := range []bool{true, false} {
			if !restart && (strings.HasPrefix(tt.name, "meta") || strings.HasPrefix(tt.name, "a byte")) {
				continue // what is in memory holds until a restart
			}
			dir := t.TempDir()
			r, s := diskRig(t, dir, 1<<20)
			want := s.Get("/one", "Host", "example.com").Text
			bodies, metas := files(t, dir, "*.body"), files(t, dir, "*.json")
			if len(bodies) != 1 || len(metas) != 1 {
				t.Fatalf("files: %q %q", bodies, metas)
			}
			if err := tt.damage(bodies[0], metas[0]); err != nil {
				t.Fatal(err)
			}
			if restart {
				r, s = diskRig(t, dir, 1<<20)
			}
			for range 2 {
				if got := s.Get("/one", "Host", "example.com"); got.Text != want || got.Broken != nil {
					t.Errorf("%s: got %d bytes, %v", tt.name, len(got.Text), got.Broken)
				}
			}
			asked := int64(1)
			if !restart {
				asked = 2
			}
			if got := r.asked.Load(); got != asked {
				t.Errorf("%s: asked %d times, want %d", tt.name, got, asked)
			}
		}
	}
}

func TestDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	const most = 200 << 10
	r, s := diskRig(t, dir, most)
	for i := range 40 {
		s.Get(fmt.Sprintf("/%02d", i))
		s.Get("/00") // asked for often, and stays
	}
	if got := r.store.Stats(); got.DiskBytes > most || got.DiskBytes < most/2 {
		t.Errorf("holds %+v", got)
	}
	var size int64
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, _ error) error {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	if size > most {
		t.Errorf("%d bytes of files", size)
	}
	if got := s.Get("/00"); !strings.Contains(status(got), "hit") {
		t.Errorf("what was used last is gone: %q", status(got))
	}
	if got := s.Get("/01"); strings.Contains(status(got), "hit") {
		t.Errorf("what was used first is there: %q", status(got))
	}
	// A smaller bound holds from the next start on.
	r, _ = diskRig(t, dir, most/4)
	if got := r.store.Stats(); got.DiskBytes > most/4 {
		t.Errorf("holds %+v", got)
	}
}

func TestDiskIsRefreshed(t *testing.T) {
	dir := t.TempDir()
	r, s := diskRig(t, dir, 1<<20)
	host := []string{"Host", "example.com"}
	s.Get("/one", host...)
	r.pass(61 * time.Second)
	if got := s.Get("/one", host...); status(got) != "platform; fwd=stale; fwd-status=304" {
		t.Errorf("got %q", status(got))
	}
	if got := s.Get("/one", host...); status(got) != "platform; hit; ttl=60" {
		t.Errorf("got %q", status(got))
	}
	again, s := diskRig(t, dir, 1<<20)
	again.pass(61*time.Second + 30*time.Second)
	if got := s.Get("/one", host...); status(got) != "platform; hit; ttl=30" {
		t.Errorf("after a restart: %q", status(got))
	}
}

// TestFullDisk: a folder that cannot be written to costs the cache, not the answers.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	_, s := diskRig(t, dir, 1<<20)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := s.Get("/one"); len(got.Text) != 10<<10 || got.Broken != nil {
			t.Errorf("got %d bytes, %v", len(got.Text), got.Broken)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, StoreConfig{MemoryBytes: 100 << 10}, Config{})
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write(bytes.Repeat([]byte("x"), 4000))
	}))
	for i := range 100 {
		s.Get(fmt.Sprintf("/%d", i))
	}
	r.store.memory.objects.CleanUp()
	if got := r.store.Stats(); got.MemoryBytes > 100<<10 || got.MemoryBytes < 50<<10 {
		t.Errorf("holds %+v", got)
	}
}

// FuzzMeta: whatever stands in a file of the folder, a start does not fail, and keeps nothing that is not whole.
func FuzzMeta(f *testing.F) {
	f.Add([]byte(`{"meta":{"key":"https://a/","status":200,"header":{"A":["b"]}},"length":1,"sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"meta":{"status":-1},"length":-5}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		os.WriteFile(filepath.Join(dir, "x.body"), []byte("a"), 0o600)
		if err := os.WriteFile(filepath.Join(dir, "x.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		tier, err := openDisk(dir, 1<<20, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range tier.keys() {
			for _, o := range tier.find(key) {
				if body, err := o.body.open(); err == nil {
					if got, _ := io.ReadAll(body); string(got) != "a" {
						t.Fatalf("got %q", got)
					}
					body.Close()
				}
			}
		}
	})
}
