// Package compress sends responses in a content coding that the client accepts: zstd, brotli or gzip.
//
// A response is compressed where its content type is worth it and it is long enough, and is left alone where somebody
// decided otherwise before: it has a coding already, is a part of something (206), says no-transform, or has no body. What
// is compressed loses its length, its ranges and its digests; a strong entity tag becomes weak, because the bytes are no
// longer those it was made for. Comparison in If-None-Match is weak on both sides, so revalidation goes on working. What
// would have been compressed for another client says Vary all the same.
//
// A flush by the handler reaches the client, and each write of an event stream is flushed. A body that breaks off stays
// broken: the coding is not ended as if it were whole.
//
// Compression of a page that shows a secret, such as a token against forged requests, next to text that an attacker chooses
// lets them guess the secret from the length (BREACH, CVE-2013-3587). No transport encryption hides that. The remedies are
// tokens that are masked afresh for each response, or Config.Off for the route.
package compress

import (
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/header"
)

// Defaults. Higher levels cost more time than the network saves for what is made for one request.
const (
	DefaultMinBytes    = 1024
	DefaultGzipLevel   = 4
	DefaultBrotliLevel = 4
	DefaultZstdLevel   = 3

	// Levels above these need megabytes for each response that is under way.
	maxBrotliLevel = 6
	maxZstdLevel   = 11
	// maxMinBytes bounds what is held back of a response whose length is not known.
	maxMinBytes = 1 << 20
)

// Config is the compression of one route in the document. The zero value compresses with all defaults.
type Config struct {
	// Off leaves every response as it is; see BREACH in the package comment.
	Off bool `json:"off,omitempty"`
	// Encodings are offered in this order of preference. Empty is zstd, br, gzip.
	Encodings []string `json:"encodings,omitempty"`
	// Types are content types that are compressed, "text/*" for all of a kind. Empty is header.DefaultTypes.
	Types []string `json:"types,omitempty"`
	// MinBytes is the least length that is compressed; zero is DefaultMinBytes.
	MinBytes int `json:"min_bytes,omitempty"`
	// Levels, zero for the default: gzip 1 to 9, brotli 1 to 6, zstd 1 to 11.
	GzipLevel   int `json:"gzip_level,omitempty"`
	BrotliLevel int `json:"brotli_level,omitempty"`
	ZstdLevel   int `json:"zstd_level,omitempty"`
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var e field.Errors
	for i, name := range c.Encodings {
		switch {
		case !slices.Contains(offers(), name):
			e.Add(field.Index("encodings", i), "%q: must be one of %s", name, strings.Join(offers(), ", "))
		case slices.Contains(c.Encodings[:i], name):
			e.Add(field.Index("encodings", i), "%q stands there twice; remove one", name)
		}
	}
	for i, t := range c.Types {
		kind, sub, ok := strings.Cut(t, "/")
		if !ok || kind == "" || sub == "" || strings.ToLower(t) != t || strings.ContainsAny(t, " ;,") || strings.Contains(strings.TrimSuffix(t, "/*"), "*") {
			e.Add(field.Index("types", i), "%q: must be a content type in lower case without parameters, for example text/html or text/*", t)
		}
	}
	for _, n := range []struct {
		path string
		n    int
		most int
	}{{"min_bytes", c.MinBytes, maxMinBytes}, {"gzip_level", c.GzipLevel, 9}, {"brotli_level", c.BrotliLevel, maxBrotliLevel}, {"zstd_level", c.ZstdLevel, maxZstdLevel}} {
		if n.n < 0 || n.n > n.most {
			e.Add(n.path, "%d: must be between 1 and %d, or 0 for the default", n.n, n.most)
		}
	}
	return e.Err()
}

func offers() []string { return []string{header.Zstd, header.Brotli, header.Gzip} }

func (c Config) withDefaults() Config {
	if len(c.Encodings) == 0 {
		c.Encodings = offers()
	}
	if len(c.Types) == 0 {
		c.Types = header.DefaultTypes()
	}
	for _, n := range []struct {
		of *int
		d  int
	}{{&c.MinBytes, DefaultMinBytes}, {&c.GzipLevel, DefaultGzipLevel}, {&c.BrotliLevel, DefaultBrotliLevel}, {&c.ZstdLevel, DefaultZstdLevel}} {
		if *n.of == 0 {
			*n.of = n.d
		}
	}
	return c
}
