package static

import (
	"bytes"
	"errors"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// page shows a folder without scripts or styles, so that it works under any content security policy.
var page = template.Must(template.New("listing").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Files</title>
<h1>Files</h1>
<table>
<thead><tr><th scope="col">Name</th><th scope="col">Bytes</th><th scope="col">Changed</th></tr></thead>
<tbody>
{{if .Up}}<tr><td><a href="../">../</a></td><td></td><td></td></tr>
{{end}}{{range .Entries}}<tr><td><a href="{{.Link}}">{{.Name}}</a></td><td>{{if not .Folder}}{{.Size}}{{end}}</td><td><time>{{.Changed}}</time></td></tr>
{{end}}</tbody>
</table>
{{if .More}}<p>There are more; only the first {{len .Entries}} are shown.</p>
{{end}}</html>
`))

type entry struct {
	Name, Link, Changed string
	Size                int64
	Folder              bool
}

// serveListing shows what a folder holds and this handler would serve.
func (h *Handler) serveListing(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	found, err := f.ReadDir(maxListed + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	more := len(found) > maxListed
	entries := make([]entry, 0, len(found))
	for _, d := range found[:min(len(found), maxListed)] {
		if !h.config.Dotfiles && hidden(d.Name()) {
			continue
		}
		// By the root, so that a link shows what it leads to, and one that leads out does not show.
		info, err := root.Stat(strings.TrimPrefix(name+"/"+d.Name(), "./"))
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		e := entry{Name: d.Name(), Size: info.Size(), Folder: info.IsDir(), Changed: info.ModTime().UTC().Format(time.DateTime)}
		if e.Folder {
			e.Name += "/"
		}
		e.Link = (&url.URL{Path: "./" + e.Name}).String()
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.Folder != b.Folder {
			if a.Folder {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	var body bytes.Buffer
	if err := page.Execute(&body, map[string]any{"Up": name != ".", "Entries": entries, "More": more}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, header.BoundRanges(r), "", time.Time{}, bytes.NewReader(body.Bytes()))
	return nil
}
