package feeds

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

const src = "https://lists.example.org/drop.txt"

func at(h int) time.Time { return time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC) }

func copyOf(t testing.TB, texts ...string) Copy {
	return Copy{Source: src, Format: Netset, ETag: `"` + strings.Join(texts, " ") + `"`, Ranges: ranges.FromSlice(list(t, texts...)), Lines: len(texts)}
}

func open(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "feeds"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func copies(t testing.TB, s *Store) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "*"+ranges.Extension))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestStoreKeepsTheLastGoodCopy(t *testing.T) {
	s := open(t)
	if m, err := s.Get("a", src); err != nil || m.Copy.Digest != "" || m.Name != "a" || m.Source != src {
		t.Errorf("nothing yet: got %+v %v", m, err)
	}
	many := []string{"8.0.0.1", "8.0.0.3", "8.0.0.5", "8.0.0.7", "8.0.0.9", "8.0.0.11", "8.0.0.13", "8.0.0.15", "8.0.0.17", "8.0.0.19", "8.0.0.21"}
	first, changed, err := s.Put("a", copyOf(t, many...), VetConfig{Allow: list(t, "8.0.0.1")}, at(1))
	if err != nil || !changed || first.Copy.V4 != 11 || first.Report.Dropped[DropAllowed] != 1 {
		t.Fatalf("got %+v changed %v %v", first, changed, err)
	}

	same, changed, err := s.Put("a", copyOf(t, many...), VetConfig{}, at(2))
	if err != nil || changed || same.Copy != first.Copy || !same.Changed.Equal(at(1)) || !same.Checked.Equal(at(2)) {
		t.Errorf("same content: got %+v changed %v %v", same, changed, err)
	}

	held, changed, err := s.Put("a", copyOf(t, "8.0.0.1"), VetConfig{}, at(3))
	if !errors.Is(err, ErrImplausible) || changed || held.Copy != first.Copy || held.Held == nil || held.Held.Plausible != 1 || held.ETag != first.ETag || held.Failures != 1 {
		t.Errorf("emptied: got %+v changed %v %v", held, changed, err)
	}
	if got := copies(t, s); got != 1 {
		t.Errorf("got %d copies, want 1", got)
	}
	disk := errors.New("disk")
	if _, _, err := s.Put("a", Copy{Source: src, Ranges: ranges.Fail(disk)}, VetConfig{}, at(4)); !errors.Is(err, disk) {
		t.Errorf("broken sequence: got %v", err)
	}
	failed, err := s.Failed("a", src, errors.New("server answered 503"), at(9), at(5))
	if err != nil || failed.Copy != first.Copy || failed.Failures != 3 || failed.Error != "server answered 503" || !failed.RetryAt.Equal(at(9)) {
		t.Errorf("failed: got %+v %v", failed, err)
	}
	if m, err := s.Unchanged("a", src, at(6)); err != nil || m.Failures != 0 || m.Error != "" || !m.Checked.Equal(at(6)) || m.Copy != first.Copy {
		t.Errorf("unchanged: got %+v %v", m, err)
	}

	forced, changed, err := s.Put("a", copyOf(t, "8.0.0.1"), VetConfig{Force: true}, at(7))
	if err != nil || !changed || forced.Copy.V4 != 1 || forced.Held != nil || !forced.Changed.Equal(at(7)) {
		t.Errorf("forced: got %+v changed %v %v", forced, changed, err)
	}
	if got := copies(t, s); got != 1 {
		t.Errorf("got %d copies, want 1: the old one is garbage", got)
	}
	if read, err := s.Get("a", src); err != nil || read.Copy != forced.Copy || read.ETag != forced.ETag {
		t.Errorf("read back: got %+v %v, want %+v", read, err, forced)
	}
}

func TestStoreOtherSource(t *testing.T) {
	s := open(t)
	first, _, err := s.Put("a", copyOf(t, "8.0.0.1"), VetConfig{}, at(1))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Get("a", "https://other.example.org/")
	if err != nil || m.ETag != "" || m.Copy != first.Copy || !m.Checked.IsZero() {
		t.Errorf("got %+v %v, want the former copy without validators", m, err)
	}
}

func TestStoreDamage(t *testing.T) {
	s := open(t)
	for _, name := range []string{"a", "b"} {
		if _, _, err := s.Put(name, copyOf(t, "8.0.0.1", map[string]string{"a": "9.0.0.1", "b": "9.0.0.2"}[name]), VetConfig{}, at(1)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := s.Get("a", src)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(a.Copy.Path, 40); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("a", src); err != nil || got.Copy.Digest != "" || got.ETag != "" || !strings.Contains(got.Error, "corrupt") {
		t.Errorf("cut copy: got %+v %v", got, err)
	}
	if err := os.Remove(a.Copy.Path); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("a", src); err != nil || got.Copy.Digest != "" || got.ETag != "" || got.Error == "" {
		t.Errorf("missing copy: got %+v %v", got, err)
	}
	if err := os.WriteFile(s.path("a"), []byte(`{"name":"a","copy":{"digest":"../../etc/passwd"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("a", src); err != nil || got.Copy.Digest != "" || !strings.Contains(got.Error, "corrupt") {
		t.Errorf("damaged meta: got %+v %v", got, err)
	}
	all, err := s.List()
	if len(all) != 1 || all[0].Name != "b" || !errors.Is(err, ranges.ErrCorrupt) {
		t.Errorf("list: got %+v %v", all, err)
	}
	if m, changed, err := s.Put("a", copyOf(t, "8.0.0.1"), VetConfig{}, at(2)); err != nil || !changed || m.Copy.V4 != 1 {
		t.Errorf("put over damage: got %+v %v %v", m, changed, err)
	}
	if err := s.Remove("b"); err != nil {
		t.Error(err)
	}
	if all, err := s.List(); err != nil || len(all) != 1 || copies(t, s) != 1 {
		t.Errorf("after remove: got %+v %v, %d copies", all, err, copies(t, s))
	}
	for _, name := range []string{"", "../a", "a/b", strings.Repeat("a", 33), "ä"} {
		if _, err := s.Get(name, src); err == nil {
			t.Errorf("name %q: no error", name)
		}
	}
}

func TestUnion(t *testing.T) {
	s := open(t)
	var files []string
	for name, texts := range map[string][]string{"a": {"8.0.0.0/24", "2001:db8::/32"}, "b": {"8.0.1.0/24", "9.0.0.0/24"}} {
		m, _, err := s.Put(name, copyOf(t, texts...), VetConfig{}, at(1))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, m.Copy.Path)
	}
	dir := t.TempDir()
	info, err := Union(files, list(t, "9.0.0.0/24", "8.0.0.4"), dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ranges.Open(info.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := ranges.Collect(f.All())
	if want := list(t, "8.0.0.0-8.0.0.3", "8.0.0.5-8.0.1.255", "2001:db8::/32"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
	if _, err := Union(append(files, filepath.Join(dir, "missing")), nil, dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
}

func TestNext(t *testing.T) {
	now := at(12)
	tests := []struct {
		name  string
		m     Meta
		every time.Duration
		want  [2]time.Duration // from now, with rnd 0 and almost 1
	}{
		{"never", Meta{}, time.Hour, [2]time.Duration{0, 0}},
		{"just done", Meta{Checked: now}, time.Hour, [2]time.Duration{54 * time.Minute, 66 * time.Minute}},
		{"default period", Meta{Checked: now}, 0, [2]time.Duration{648 * time.Minute, 792 * time.Minute}},
		{"shortest period", Meta{Checked: now}, time.Second, [2]time.Duration{270 * time.Second, 330 * time.Second}},
		{"overdue", Meta{Checked: at(1)}, time.Hour, [2]time.Duration{0, 0}},
		{"clock set back", Meta{Checked: at(23)}, time.Hour, [2]time.Duration{54 * time.Minute, 66 * time.Minute}},
		{"first failure", Meta{Attempted: now, Failures: 1}, time.Hour, [2]time.Duration{108 * time.Second, 132 * time.Second}},
		{"third failure", Meta{Attempted: now, Failures: 3, Checked: at(1)}, time.Hour, [2]time.Duration{432 * time.Second, 528 * time.Second}},
		{"many failures", Meta{Attempted: now, Failures: 1 << 30}, time.Hour, [2]time.Duration{54 * time.Minute, 66 * time.Minute}},
		{"asked to wait", Meta{Attempted: now, Failures: 1, RetryAt: at(15)}, time.Hour, [2]time.Duration{3 * time.Hour, 3 * time.Hour}},
		{"asked to wait for ever", Meta{Attempted: now, Failures: 1, RetryAt: now.AddDate(1, 0, 0)}, time.Hour, [2]time.Duration{24 * time.Hour, 24 * time.Hour}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, r := range []float64{0, 1} {
				got := Next(now, tt.m, tt.every, func() float64 { return r }).Sub(now)
				if d := got - tt.want[i]; d < -time.Second || d > time.Second {
					t.Errorf("rnd %v: got %v, want %v", r, got, tt.want[i])
				}
			}
		})
	}
}

func TestPresets(t *testing.T) {
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
		if err := errors.Join(CheckName(p.Name), CheckFormat(p.Format)); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(p.Source, "https://") || p.Every < MinEvery || p.MinRanges < 1 || p.MaxRanges <= p.MinRanges || p.Title == "" || p.Note == "" {
			t.Errorf("preset %+v is not complete", p)
		}
	}
	if want := []string{"blocklist-de", "firehol-level1", "spamhaus-drop", "spamhaus-dropv6", "tor-exits"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
