package static

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// youngest is how old a file must be before its tag is strong: file systems keep times in ticks of up to two seconds.
const youngest = 2 * time.Second

// Options are what the surroundings give a Handler.
type Options struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Error answers with an error page; nil is a line of text.
	Error func(w http.ResponseWriter, r *http.Request, status int)
}

// Handler serves one tree. It is safe for concurrent use, and needs no closing.
type Handler struct {
	config Config
	types  map[string]string
	// compressible are the types for which a sibling in a coding is looked for.
	compressible []string
	memory       *memory // nil in ModeFile
	now          func() time.Time
	fail         func(w http.ResponseWriter, r *http.Request, status int)
}

// New makes a Handler. The path of its requests is relative to the root: what stands before it in the route is already off.
func New(c Config, o Options) (*Handler, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	h := &Handler{config: c.withDefaults(), types: types(), compressible: header.DefaultTypes(), now: o.Now, fail: o.Error}
	if h.now == nil {
		h.now = time.Now
	}
	if h.fail == nil {
		h.fail = func(w http.ResponseWriter, _ *http.Request, status int) {
			http.Error(w, http.StatusText(status), status)
		}
	}
	if h.config.Mode == ModeMemory {
		var err error
		if h.memory, err = newMemory(h.config.MemoryBytes, h.config.MemoryFileBytes); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.fail(w, r, http.StatusMethodNotAllowed)
		return
	}
	if err := h.serve(w, r); err != nil {
		h.fail(w, r, statusOf(err))
	}
}

// statusOf what went wrong before anything was sent. What must not be seen is as good as not there.
func statusOf(err error) int {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return http.StatusServiceUnavailable
	case errors.Is(err, syscall.EIO):
		return http.StatusInternalServerError
	}
	return http.StatusNotFound
}

// errHidden is for what is there and is not served.
var errHidden = errors.New("not served")

// serve sends what the path names; on an error nothing was sent.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	name, dir, err := clean(r.URL.Path)
	if err != nil {
		return err
	}
	if !h.config.Dotfiles && hidden(name) {
		return errHidden
	}
	root, err := os.OpenRoot(h.config.Root)
	if err != nil {
		if info, statErr := os.Stat(h.config.Root); statErr == nil && info.Mode().IsRegular() {
			return h.serveRootFile(w, r, name)
		}
		return err
	}
	defer root.Close()

	info, err := root.Stat(name)
	switch {
	case err == nil && info.IsDir():
		if !dir {
			redirect(w, r, path.Base(name)+"/")
			return nil
		}
		err = h.serveFolder(w, r, root, name)
	case err == nil && dir:
		err = fs.ErrNotExist // a file has nothing below it
	case err == nil:
		return h.serveFile(w, r, root, name, info, h.config.CacheControl)
	}
	if err != nil && h.config.Fallback != "" && statusOf(err) == http.StatusNotFound && !errors.Is(err, errHidden) {
		if info, ferr := root.Stat(h.config.Fallback); ferr == nil {
			// It stands for an address that may be a file tomorrow: a cache has to ask.
			return h.serveFile(w, r, root, h.config.Fallback, info, "no-cache")
		}
	}
	return err
}

// clean makes a name below the root of a request's path; dir says that it ended in a slash, as the root itself does.
func clean(p string) (name string, dir bool, err error) {
	if strings.ContainsRune(p, 0) {
		return "", false, errHidden
	}
	if name = path.Clean("/" + p)[1:]; name == "" {
		return ".", true, nil
	}
	// Only a file's own name may be its last part; "dir/." and "dir/sub/.." are folders too.
	return name, path.Base(name) != p[strings.LastIndexByte(p, '/')+1:], nil
}

// hidden reports whether a part of the name begins with a dot; .well-known is for the public (RFC 8615).
func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part[0] == '.' && part != ".well-known" && name != "." {
			return true
		}
	}
	return false
}

// serveRootFile serves a root that is a file, at the route's own path only.
func (h *Handler) serveRootFile(w http.ResponseWriter, r *http.Request, name string) error {
	if name != "." {
		return fs.ErrNotExist
	}
	dir, file := filepath.Split(filepath.Clean(h.config.Root))
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(file)
	if err != nil {
		return err
	}
	return h.serveFile(w, r, root, file, info, h.config.CacheControl)
}

// serveFolder sends a folder's index, or what it holds where that is wanted.
func (h *Handler) serveFolder(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	for _, index := range h.config.Index {
		file := path.Join(name, index)
		info, err := root.Stat(file)
		if err == nil && info.Mode().IsRegular() {
			return h.serveFile(w, r, root, file, info, h.config.CacheControl)
		}
		if err != nil && statusOf(err) != http.StatusNotFound {
			return err
		}
	}
	if h.config.Listing {
		return h.serveListing(w, r, root, name)
	}
	return fs.ErrNotExist
}

// redirect to a path relative to the request's, so that the part of the route that was taken off stays. The "./" keeps a
// name with a colon from being taken for a scheme.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	u := url.URL{Path: "./" + to, RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", u.String())
	w.WriteHeader(http.StatusMovedPermanently)
}

// serveFile sends a file, or what stands beside it in a coding the client prefers.
func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, root *os.Root, name string, info fs.FileInfo, cacheControl string) error {
	contentType := h.contentType(name)
	coding, found := "", false
	if !h.config.PlainOnly && header.IsType(contentType, h.compressible) {
		var sibling fs.FileInfo
		var siblingName string
		if siblingName, sibling, coding, found = h.sibling(r, root, name, info); coding != "" {
			name, info = siblingName, sibling
		}
	}
	content, info, err := h.open(root, name, info)
	if err != nil {
		return err
	}
	defer content.Close()

	out := w.Header()
	out.Set("Content-Type", contentType)
	if found {
		header.AddVary(out, "Accept-Encoding")
	}
	if coding != "" {
		out.Set("Content-Encoding", coding)
		// ServeContent leaves the length out where there is a coding; here it is known.
		out.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	}
	if cacheControl != "" {
		out.Set("Cache-Control", cacheControl)
	}
	out.Set("Etag", h.tag(info, coding))
	http.ServeContent(w, header.BoundRanges(r), "", info.ModTime(), content)
	return nil
}

// tag is made of time, size and coding. While the file is very young, a second change could leave both as they are.
func (h *Handler) tag(info fs.FileInfo, coding string) string {
	tag := strconv.FormatInt(info.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(info.Size(), 36)
	if coding != "" {
		tag += "-" + coding
	}
	if h.now().Sub(info.ModTime()) < youngest {
		return `W/"` + tag + `"`
	}
	return `"` + tag + `"`
}

// open gives the content of a regular file, and what is true of it at this moment.
func (h *Handler) open(root *os.Root, name string, info fs.FileInfo) (io.ReadSeekCloser, fs.FileInfo, error) {
	if !info.Mode().IsRegular() {
		return nil, nil, errHidden
	}
	if h.memory != nil {
		return h.memory.open(root, name, info)
	}
	return openFile(root, name)
}

// openFile does not wait for a writer where the name has become a FIFO meanwhile.
func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errHidden
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}
