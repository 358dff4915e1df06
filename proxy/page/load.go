package page

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

// lookAgain is how long a file is taken for what it was.
const lookAgain = time.Second

// Loader makes sets. What stands in a file is in memory once, however many pages name it. The zero value knows no folder.
type Loader struct {
	// Roots are the folders below which files may be read.
	Roots []string
	files map[string]*content
}

// Set is a Config, ready to be shown. A nil Set has no page.
type Set struct{ pages map[string]*[forms]*content }

// content is one form of a page. It is safe for concurrent use.
type content struct {
	root, rel string // of a file; else empty
	form      Form

	mu     sync.Mutex
	now    *template
	looked time.Time
	stamp  stamp
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// Load makes a set of a configuration that was validated. Every file that cannot be read is a mistake.
func (l *Loader) Load(c Config) (*Set, error) {
	if len(c) == 0 {
		return nil, nil
	}
	s := &Set{pages: map[string]*[forms]*content{}}
	var e field.Errors
	for name, p := range c {
		all := &[forms]*content{}
		for f, form := range p.forms() {
			if form.content == "" {
				continue
			}
			one, err := l.content(Form(f), form.content)
			e.Join(field.Key("", name)+"."+form.name, err)
			all[f] = one
		}
		s.pages[name] = all
	}
	return s, e.Err()
}

func (l *Loader) content(f Form, text string) (*content, error) {
	path, isFile := file(text)
	if !isFile {
		t, err := parse(f, text, maxInline)
		return &content{form: f, now: t}, err
	}
	key := string(rune('0'+f)) + path
	if c := l.files[key]; c != nil {
		return c, nil
	}
	c := &content{form: f}
	for _, root := range l.Roots {
		if rel, below := strings.CutPrefix(path, strings.TrimSuffix(root, "/")+"/"); below && len(root) > len(c.root) {
			c.root, c.rel = root, filepath.FromSlash(rel)
		}
	}
	if c.root == "" {
		return nil, fmt.Errorf("%s is not below a folder that may be served (%s); move it there, or start platformd with --file-root", path, strings.Join(l.Roots, ", "))
	}
	if err := c.read(); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%s: the proxy runs as an ordinary user and may not read it; let everybody read it and enter the folders above (chmod o+rX)", path)
		}
		return nil, err
	}
	c.looked = time.Now()
	if l.files == nil {
		l.files = map[string]*content{}
	}
	l.files[key] = c
	return c, nil
}

// read reads the file if it is not the one that was read. On an error what was read before stays. No link leads out of the root.
func (c *content) read() error {
	root, err := os.OpenRoot(c.root)
	if err != nil {
		return err
	}
	defer root.Close()
	st, err := root.Stat(c.rel) // before it is opened: opening a FIFO would wait
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", filepath.Join(c.root, c.rel))
	}
	now := stamp{st.ModTime(), st.Size()}
	if c.now != nil && now == c.stamp {
		return nil
	}
	f, err := root.Open(c.rel)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	t, err := parse(c.form, string(b), maxFile)
	if err != nil {
		return err
	}
	c.now, c.stamp = t, now
	return nil
}

// template is what is shown now.
func (c *content) template(now time.Time) *template {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.root != "" && now.Sub(c.looked) >= lookAgain {
		c.looked = now
		_ = c.read() // what was read last is better than nothing
	}
	return c.now
}

// Find gives a page in one form, filled in: the first that there is of name (where that is not empty), the status, and its class.
func (s *Set) Find(f Form, name string, v *Values) ([]byte, bool) {
	if s == nil {
		return nil, false
	}
	for _, n := range [...]string{name, number(v.Status), class(v.Status)} {
		if p := s.pages[n]; p != nil && p[f] != nil {
			return p[f].template(time.Now()).render(v), true
		}
	}
	return nil, false
}
