package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/static"
)

// files serves what lies below a root, which must itself lie below one of those that this process may read.
func (b *backends) files(r *Route, root string) (http.Handler, error) {
	if !slices.ContainsFunc(b.roots, func(parent string) bool {
		return root == parent || strings.HasPrefix(root, strings.TrimSuffix(parent, "/")+"/")
	}) {
		return nil, fmt.Errorf("backend: %s is not below a folder that may be served (%s); move it there, or start platformd with --file-root %s", root, strings.Join(b.roots, ", "), root)
	}
	_, err := os.Stat(root)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("backend: %s: the proxy runs as an ordinary user and may not read it; let everybody read it and enter the folders above (chmod o+rX)", root)
	}
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	c := r.Static
	c.Root = root
	h, err := static.New(c, static.Options{Error: func(w http.ResponseWriter, _ *http.Request, status int) {
		x := exchangeOf(w)
		x.conn.server.fail(x, status, "file")
	}})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		x := exchangeOf(w)
		path := x.route.rest(x.path)
		if path == "" && !x.route.Exact {
			path = "/"
		}
		inner := *req
		u := *req.URL
		inner.URL = &u
		if err := setPath(&u, path); err != nil {
			x.conn.server.fail(x, http.StatusBadRequest, err.Error())
			return
		}
		h.ServeHTTP(w, &inner)
	}), nil
}
