package static

import (
	"io/fs"
	"net/http"
	"os"

	"github.com/platformd/platformd/proxy/header"
)

// codings that a sibling may have, best first, with the endings of their names.
var codings = [...]struct{ name, ext string }{{header.Brotli, ".br"}, {header.Zstd, ".zst"}, {header.Gzip, ".gz"}}

// sibling looks for the file in a coding. found says that there is one for somebody, so that the answer varies; coding is
// empty where it is not for this client. One that is older than the file itself holds what the file held before.
func (h *Handler) sibling(r *http.Request, root *os.Root, name string, plain fs.FileInfo) (file string, info fs.FileInfo, coding string, found bool) {
	var infos [len(codings)]fs.FileInfo
	offers := make([]string, 0, len(codings))
	for i, c := range codings {
		info, err := root.Stat(name + c.ext)
		if err == nil && info.Mode().IsRegular() && !info.ModTime().Before(plain.ModTime()) {
			infos[i] = info
			offers = append(offers, c.name)
		}
	}
	if len(offers) == 0 {
		return "", nil, "", false
	}
	coding, _ = header.Encoding(r.Header.Values("Accept-Encoding"), offers)
	for i, c := range codings {
		if c.name == coding {
			return name + c.ext, infos[i], coding, true
		}
	}
	return "", nil, "", true
}
