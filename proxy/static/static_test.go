package static

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/header"
	"github.com/platformd/platformd/proxy/proxytest"
)

// changed is when the files of tree were: long ago, and whole seconds, as If-Modified-Since has them.
var changed = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// tree writes files by name; a content "-> x" is a symbolic link, a name with a slash at its end a folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(to, path)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			write(t, path, content, changed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t *testing.T, path, content string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func handler(t *testing.T, c Config) *Handler {
	t.Helper()
	h, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var site = map[string]string{
	"index.html":             "<p>home</p>",
	"a.txt":                  "0123456789",
	"we ird:name.txt":        "weird",
	"sub/index.html":         "sub",
	"empty/":                 "",
	"noext":                  "<script>",
	"inside.txt":             "-> a.txt",
	"outside.txt":            "-> /etc/passwd",
	"climb.txt":              "-> ../../../../../../etc/passwd",
	"out/":                   "",
	"out/dir":                "-> /etc",
	".env":                   "SECRET=1",
	".git/config":            "secret",
	"sub/.hidden":            "secret",
	".well-known/thing":      "known",
	"app.js":                 "plain js",
	"app.js.br":              "br js",
	"app.js.gz":              "gz js",
	"photo.png":              "png",
	"photo.png.gz":           "gz png",
	"sub/deeper/index.html":  "deeper",
	"only.css":               "css",
	"sp&ce/%2e%2e/index.htm": "x",
}

func TestServe(t *testing.T) {
	root := tree(t, site)
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	proxytest.Each(t, handler(t, Config{Root: root}), func(t *testing.T, s *proxytest.Server) {
		for _, tt := range []struct {
			path   string
			status int
			body   string
			field  string
			value  string
		}{
			{"/", 200, "<p>home</p>", "Content-Type", "text/html; charset=utf-8"},
			{"/index.html", 200, "<p>home</p>", "Last-Modified", "Mon, 03 Feb 2020 04:05:06 GMT"},
			{"/a.txt", 200, "0123456789", "Content-Length", "10"},
			{"/a.txt?q=1", 200, "0123456789", "Accept-Ranges", "bytes"},
			{"/we%20ird:name.txt", 200, "weird", "", ""},
			{"/noext", 200, "<script>", "Content-Type", "application/octet-stream"},
			{"/sub", 301, "", "Location", "./sub/"},
			{"/sub?x=1&y", 301, "", "Location", "./sub/?x=1&y"},
			{"/sub/deeper", 301, "", "Location", "./deeper/"},
			{"/sub/", 200, "sub", "", ""},
			{"/sub/deeper/", 200, "deeper", "", ""},
			{"/sub/.", 200, "sub", "", ""},
			{"/sub/deeper/..", 200, "sub", "", ""},
			{"/sub//index.html", 200, "sub", "", ""},
			{"/inside.txt", 200, "0123456789", "", ""},
			{"/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 404, "", "", ""},
			{"/..%2f..%2f..%2f..%2fetc/passwd", 404, "", "", ""},
			{"/sub/../../../../../etc/passwd", 404, "", "", ""},
			{"/outside.txt", 404, "", "", ""},
			{"/climb.txt", 404, "", "", ""},
			{"/out/dir/passwd", 404, "", "", ""},
			{"/out/dir/", 404, "", "", ""},
			{"/.env", 404, "", "", ""},
			{"/.git/config", 404, "", "", ""},
			{"/sub/.hidden", 404, "", "", ""},
			{"/sub/%2ehidden", 404, "", "", ""},
			{"/.well-known/thing", 200, "known", "", ""},
			{"/a.txt/", 404, "", "", ""},
			{"/a.txt/more", 404, "", "", ""},
			{"/empty/", 404, "", "", ""},
			{"/missing", 404, "", "", ""},
			{"/a.txt%00.png", 404, "", "", ""},
			{"/fifo", 404, "", "", ""},
			{"/" + strings.Repeat("x", 300), 404, "", "", ""},
		} {
			got := s.Get(tt.path)
			if got.StatusCode != tt.status || tt.status == 200 && got.Text != tt.body || got.Header.Get(tt.field) != tt.value {
				t.Errorf("%s: got %d %q %s: %q, want %d %q %q", tt.path, got.StatusCode, got.Text, tt.field, got.Header.Get(tt.field), tt.status, tt.body, tt.value)
			}
			if strings.Contains(got.Text, "root:") || strings.Contains(strings.ToLower(got.Text), "secret") {
				t.Errorf("%s: got %q", tt.path, got.Text)
			}
		}
	})
}

func TestMethods(t *testing.T) {
	proxytest.Each(t, handler(t, Config{Root: tree(t, site)}), func(t *testing.T, s *proxytest.Server) {
		head := s.Do("HEAD", "/a.txt")
		get := s.Get("/a.txt")
		if head.StatusCode != 200 || head.Text != "" {
			t.Errorf("HEAD: got %d %q", head.StatusCode, head.Text)
		}
		for _, f := range []string{"Content-Length", "Content-Type", "Etag", "Last-Modified", "Accept-Ranges"} {
			if h, g := head.Header.Get(f), get.Header.Get(f); h != g || g == "" {
				t.Errorf("%s: HEAD %q, GET %q", f, h, g)
			}
		}
		for _, m := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
			if got := s.Do(m, "/a.txt"); got.StatusCode != 405 || got.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s: got %d, Allow %q", m, got.StatusCode, got.Header.Get("Allow"))
			}
		}
	})
}

func TestConditionsAndRanges(t *testing.T) {
	proxytest.Each(t, handler(t, Config{Root: tree(t, site), CacheControl: "public, max-age=60"}), func(t *testing.T, s *proxytest.Server) {
		first := s.Get("/a.txt")
		tag := first.Header.Get("Etag")
		if !strings.HasPrefix(tag, `"`) || first.Header.Get("Cache-Control") != "public, max-age=60" {
			t.Fatalf("got %q", first.Header)
		}
		const then, before, after = "Mon, 03 Feb 2020 04:05:06 GMT", "Mon, 03 Feb 2020 04:05:05 GMT", "Mon, 03 Feb 2020 04:05:07 GMT"
		for _, tt := range []struct {
			name   string
			fields []string
			status int
			body   string
		}{
			{"same tag", []string{"If-None-Match", tag}, 304, ""},
			{"same tag, weak", []string{"If-None-Match", "W/" + tag}, 304, ""},
			{"one of two", []string{"If-None-Match", `"x", ` + tag}, 304, ""},
			{"other tag", []string{"If-None-Match", `"x"`, "If-Modified-Since", after}, 200, "0123456789"},
			{"not modified", []string{"If-Modified-Since", then}, 304, ""},
			{"modified", []string{"If-Modified-Since", before}, 200, "0123456789"},
			{"must match and does", []string{"If-Match", tag}, 200, "0123456789"},
			{"must match and does not", []string{"If-Match", `"x"`}, 412, ""},
			{"weak does not match", []string{"If-Match", "W/" + tag}, 412, ""},
			{"unmodified", []string{"If-Unmodified-Since", then}, 200, "0123456789"},
			{"was modified", []string{"If-Unmodified-Since", before}, 412, ""},
			{"range", []string{"Range", "bytes=2-4"}, 206, "234"},
			{"suffix", []string{"Range", "bytes=-3"}, 206, "789"},
			{"to the end", []string{"Range", "bytes=8-"}, 206, "89"},
			{"beyond", []string{"Range", "bytes=10-"}, 416, ""},
			{"other unit", []string{"Range", "lines=1-2"}, 200, "0123456789"},
			{"if the same", []string{"Range", "bytes=0-1", "If-Range", tag}, 206, "01"},
			{"if the same, weak", []string{"Range", "bytes=0-1", "If-Range", "W/" + tag}, 200, "0123456789"},
			{"if another", []string{"Range", "bytes=0-1", "If-Range", `"x"`}, 200, "0123456789"},
			{"too many", []string{"Range", "bytes=0-0" + strings.Repeat(",0-0", header.MaxRanges)}, 200, "0123456789"},
		} {
			got := s.Get("/a.txt", tt.fields...)
			if got.StatusCode != tt.status || tt.status < 300 && got.Text != tt.body || tt.status == 304 && got.Text != "" {
				t.Errorf("%s: got %d %q, want %d %q", tt.name, got.StatusCode, got.Text, tt.status, tt.body)
			}
			if tt.status == 304 && (got.Header.Get("Etag") != tag || got.Header.Get("Cache-Control") == "") {
				t.Errorf("%s: 304 without what the 200 had: %q", tt.name, got.Header)
			}
		}
		several := s.Get("/a.txt", "Range", "bytes=0-1,5-6")
		_, params, err := mime.ParseMediaType(several.Header.Get("Content-Type"))
		if several.StatusCode != 206 || err != nil {
			t.Fatalf("two ranges: got %d %q", several.StatusCode, several.Header)
		}
		var parts []string
		for reader := multipart.NewReader(strings.NewReader(several.Text), params["boundary"]); ; {
			part, err := reader.NextPart()
			if err != nil {
				break
			}
			data, _ := io.ReadAll(part)
			parts = append(parts, part.Header.Get("Content-Range")+" "+string(data))
		}
		if want := []string{"bytes 0-1/10 01", "bytes 5-6/10 56"}; !slices.Equal(parts, want) {
			t.Errorf("two ranges: got %q, want %q", parts, want)
		}
	})
}

func TestSiblings(t *testing.T) {
	root := tree(t, site)
	write(t, filepath.Join(root, "only.css.gz"), "older", changed.Add(-time.Second))
	proxytest.Each(t, handler(t, Config{Root: root}), func(t *testing.T, s *proxytest.Server) {
		for _, tt := range []struct{ path, accept, body, coding, vary string }{
			{"/app.js", "gzip, br", "br js", "br", "Accept-Encoding"},
			{"/app.js", "gzip", "gz js", "gzip", "Accept-Encoding"},
			{"/app.js", "gzip;q=0.9, br;q=0.1", "gz js", "gzip", "Accept-Encoding"},
			{"/app.js", "zstd", "plain js", "", "Accept-Encoding"},
			{"/app.js", "", "plain js", "", "Accept-Encoding"},
			{"/a.txt", "gzip", "0123456789", "", ""},
			{"/photo.png", "gzip", "png", "", ""},
			{"/only.css", "gzip", "css", "", ""},
		} {
			got := s.Get(tt.path, "Accept-Encoding", tt.accept)
			if got.Text != tt.body || got.Header.Get("Content-Encoding") != tt.coding || got.Header.Get("Vary") != tt.vary || got.ContentLength != int64(len(tt.body)) {
				t.Errorf("%s for %q: got %q %q, length %d", tt.path, tt.accept, got.Text, got.Header, got.ContentLength)
			}
		}
		br, gz := s.Get("/app.js", "Accept-Encoding", "br"), s.Get("/app.js", "Accept-Encoding", "gzip")
		if br.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("type of a sibling: %q", br.Header.Get("Content-Type"))
		}
		if br.Header.Get("Etag") == gz.Header.Get("Etag") {
			t.Errorf("two codings have the same tag %s", br.Header.Get("Etag"))
		}
		if got := s.Get("/app.js", "Accept-Encoding", "br", "If-None-Match", br.Header.Get("Etag")); got.StatusCode != 304 || got.Header.Get("Vary") == "" {
			t.Errorf("revalidated: got %d %q", got.StatusCode, got.Header)
		}
		if got := s.Get("/app.js", "Accept-Encoding", "br", "Range", "bytes=0-1"); got.StatusCode != 206 || got.Text != "br" || got.Header.Get("Content-Encoding") != "br" {
			t.Errorf("range of a sibling: got %d %q", got.StatusCode, got.Text)
		}
		if got := s.Do("HEAD", "/app.js", "Accept-Encoding", "br"); got.ContentLength != 5 || got.Header.Get("Content-Encoding") != "br" {
			t.Errorf("HEAD of a sibling: got %q", got.Header)
		}
	})
	s := proxytest.Start(t, handler(t, Config{Root: root, PlainOnly: true}))
	if got := s.Get("/app.js", "Accept-Encoding", "br"); got.Text != "plain js" || got.Header.Get("Vary") != "" {
		t.Errorf("plain only: got %q %q", got.Text, got.Header)
	}
}

func TestYoungFilesHaveWeakTags(t *testing.T) {
	root := tree(t, site)
	now := changed.Add(time.Second)
	h, err := New(Config{Root: root}, Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	s := proxytest.Start(t, h)
	weak := s.Get("/a.txt").Header.Get("Etag")
	now = changed.Add(3 * time.Second)
	strong := s.Get("/a.txt").Header.Get("Etag")
	if !strings.HasPrefix(weak, `W/"`) || strong != strings.TrimPrefix(weak, "W/") {
		t.Errorf("young %s, old %s", weak, strong)
	}
}

func TestFallbackAndIndex(t *testing.T) {
	proxytest.Each(t, handler(t, Config{Root: tree(t, site), Fallback: "index.html", CacheControl: "max-age=9", Index: []string{"start.html", "index.htm"}}), func(t *testing.T, s *proxytest.Server) {
		for path, want := range map[string]int{"/users/7": 200, "/users/7/": 200, "/empty/": 200, "/.env": 404, "/sp&ce/%252e%252e/": 200} {
			got := s.Get(path)
			if got.StatusCode != want {
				t.Errorf("%s: got %d, want %d", path, got.StatusCode, want)
			}
		}
		if got := s.Get("/users/7"); got.Text != "<p>home</p>" || got.Header.Get("Cache-Control") != "no-cache" || got.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("fallback: got %q %q", got.Text, got.Header)
		}
		if got := s.Get("/sp&ce/%252e%252e/"); got.Text != "x" {
			t.Errorf("second index: got %q", got.Text)
		}
		if got := s.Get("/a.txt"); got.Header.Get("Cache-Control") != "max-age=9" {
			t.Errorf("a file: got %q", got.Header)
		}
	})
}

func TestRootIsAFile(t *testing.T) {
	root := filepath.Join(tree(t, site), "a.txt")
	s := proxytest.Start(t, handler(t, Config{Root: root}))
	for path, want := range map[string]int{"/": 200, "/extra": 404, "/a.txt": 404} {
		if got := s.Get(path); got.StatusCode != want || want == 200 && (got.Text != "0123456789" || got.Header.Get("Content-Type") != "text/plain; charset=utf-8") {
			t.Errorf("%s: got %d %q", path, got.StatusCode, got.Text)
		}
	}
}

func TestListing(t *testing.T) {
	files := map[string]string{"b.txt": "bb", "<i>&\".txt": "x", "dir/": "", ".secret": "x", "out": "-> /etc", "javascript:alert(1)": "x"}
	proxytest.Each(t, handler(t, Config{Root: tree(t, files), Listing: true}), func(t *testing.T, s *proxytest.Server) {
		got := s.Get("/")
		for _, want := range []string{`<a href="./b.txt">b.txt</a></td><td>2</td>`, `<a href="./dir/">dir/</a>`, `&lt;i&gt;&amp;&#34;.txt`, `href="./javascript:alert%281%29"`} {
			if !strings.Contains(got.Text, want) {
				t.Errorf("want %q in\n%s", want, got.Text)
			}
		}
		for _, not := range []string{"secret", "<i>", ">out<", "../"} {
			if strings.Contains(got.Text, not) {
				t.Errorf("want no %q in\n%s", not, got.Text)
			}
		}
		if got := s.Get("/dir/"); !strings.Contains(got.Text, `<a href="../">`) {
			t.Errorf("no way up:\n%s", got.Text)
		}
	})
}

func TestMemory(t *testing.T) {
	root := tree(t, map[string]string{"a.txt": "one", "big.txt": strings.Repeat("x", 2000), "a.txt.gz": "coded"})
	h := handler(t, Config{Root: root, Mode: ModeMemory, MemoryBytes: 1 << 20, MemoryFileBytes: 1000})
	s := proxytest.Start(t, h)
	for range 2 {
		if got := s.Get("/a.txt"); got.Text != "one" {
			t.Fatalf("got %q", got.Text)
		}
		if got := s.Get("/big.txt"); len(got.Text) != 2000 {
			t.Fatalf("got %d bytes", len(got.Text))
		}
		if got := s.Get("/a.txt", "Accept-Encoding", "gzip"); got.Text != "coded" {
			t.Fatalf("got %q", got.Text)
		}
	}
	if _, ok := h.memory.files.GetIfPresent("a.txt"); !ok {
		t.Error("a small file is not kept")
	}
	if _, ok := h.memory.files.GetIfPresent("big.txt"); ok {
		t.Error("a file beyond the bound is kept")
	}
	// What is kept is what is sent: other bytes with the same time, size and inode are not noticed.
	write(t, filepath.Join(root, "a.txt"), "two", changed)
	if got := s.Get("/a.txt"); got.Text != "one" {
		t.Errorf("read from disk: got %q", got.Text)
	}
	write(t, filepath.Join(root, "a.txt"), "new", changed.Add(time.Second))
	if got := s.Get("/a.txt"); got.Text != "new" {
		t.Errorf("another time: got %q", got.Text)
	}
	write(t, filepath.Join(root, "a.txt"), "longer", changed.Add(time.Second))
	if got := s.Get("/a.txt"); got.Text != "longer" {
		t.Errorf("another size: got %q", got.Text)
	}
	if got := s.Get("/a.txt", "Range", "bytes=1-2"); got.StatusCode != 206 || got.Text != "on" {
		t.Errorf("range: got %d %q", got.StatusCode, got.Text)
	}
	if err := os.Remove(filepath.Join(root, "a.txt")); err != nil {
		t.Fatal(err)
	}
	if got := s.Get("/a.txt"); got.StatusCode != 404 {
		t.Errorf("removed: got %d", got.StatusCode)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	files := map[string]string{}
	for i := range 200 {
		files["f"+strings.Repeat("x", i)+".txt"] = strings.Repeat("y", 1000)
	}
	h := handler(t, Config{Root: tree(t, files), Mode: ModeMemory, MemoryBytes: 50_000, MemoryFileBytes: 1000})
	s := proxytest.Start(t, h)
	for name := range files {
		s.Get("/" + name)
	}
	h.memory.files.CleanUp()
	if got := h.memory.files.WeightedSize(); got > 50_000 || got == 0 {
		t.Errorf("keeps %d bytes", got)
	}
}

// TestRootIsExchanged: a deployment swaps the link that is the root.
func TestRootIsExchanged(t *testing.T) {
	one, two := tree(t, map[string]string{"a.txt": "one"}), tree(t, map[string]string{"a.txt": "two"})
	link := filepath.Join(t.TempDir(), "current")
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{ModeFile, ModeMemory} {
		s := proxytest.Start(t, handler(t, Config{Root: link, Mode: mode}))
		for _, to := range []string{one, two} {
			if err := os.Symlink(to, link+".new"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(link+".new", link); err != nil {
				t.Fatal(err)
			}
			if got, want := s.Get("/a.txt").Text, map[string]string{one: "one", two: "two"}[to]; got != want {
				t.Errorf("%s: got %q, want %q", mode, got, want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	h, err := New(Config{Root: filepath.Join(t.TempDir(), "missing")}, Options{Error: func(w http.ResponseWriter, _ *http.Request, status int) {
		w.WriteHeader(status)
		io.WriteString(w, "our page")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := proxytest.Start(t, h).Get("/x"); got.StatusCode != 404 || got.Text != "our page" {
		t.Errorf("got %d %q", got.StatusCode, got.Text)
	}
}

func TestValidate(t *testing.T) {
	bad := Config{Root: "www", Index: []string{"a/b", ""}, Fallback: "../x", CacheControl: "a\nb", Types: map[string]string{"foo": "x/y", ".ok": "nonsense"}, Mode: "ram", MemoryBytes: -1}
	err := bad.Validate()
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, path := range []string{"root: ", "index[0]: ", "index[1]: ", "fallback: ", "cache_control: ", "types.foo: ", `types[".ok"]: `, "mode: ", "memory_bytes: "} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("nothing about %s in\n%v", path, err)
		}
	}
	if _, err := New(bad, Options{}); err == nil {
		t.Error("New took it")
	}
	for _, root := range []string{"/", "/srv/www", "/srv/www/"} {
		if err := (Config{Root: root}).Validate(); err != nil {
			t.Errorf("%s: %v", root, err)
		}
	}
	text := `{"root":"/srv","index":["a.html"],"fallback":"a.html","listing":true,"cache_control":"no-cache","mode":"memory","memory_bytes":5}`
	var c Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if back, _ := json.Marshal(c); !bytes.Equal(back, []byte(text)) {
		t.Errorf("got %s, want %s", back, text)
	}
}

// FuzzClean: no path names anything but what is below the root.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"/", "/a/../../b", "..", "/./.x/", "//", "\x00", "/a/.", "a\\..\\b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, dir, err := clean(in)
		if err != nil {
			return
		}
		if !filepath.IsLocal(name) {
			t.Fatalf("%q leads out: %q", in, name)
		}
		if strings.HasSuffix(in, "/") && !dir {
			t.Fatalf("%q is a file", in)
		}
		hidden(name)
	})
}
