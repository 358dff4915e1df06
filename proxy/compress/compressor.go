package compress

import (
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/platformd/platformd/proxy/header"
)

// windowBits is the window of zstd and brotli, 128 KiB: it bounds the memory of each response on both sides.
const windowBits = 17

// copyBytes is the size of buffers that bodies are copied through.
const copyBytes = 32 << 10

// encoder is what the three libraries have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// Compressor compresses the responses of handlers, and keeps the encoders between them. It is safe for concurrent use.
type Compressor struct {
	config   Config
	encoders map[string]*sync.Pool
	buffers  sync.Pool
}

// New makes a Compressor.
func New(c Config) (*Compressor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	zstdOptions := []zstd.EOption{
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(c.ZstdLevel)),
		zstd.WithWindowSize(1 << windowBits),
		zstd.WithEncoderConcurrency(1), // on the handler's goroutine
		zstd.WithLowerEncoderMem(true),
	}
	// What could be wrong with the settings is found here, not in a request.
	if _, err := zstd.NewWriter(nil, zstdOptions...); err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	if _, err := gzip.NewWriterLevel(nil, c.GzipLevel); err != nil {
		return nil, fmt.Errorf("gzip encoder: %w", err)
	}
	return &Compressor{
		config: c,
		encoders: map[string]*sync.Pool{
			header.Zstd: {New: func() any {
				e, _ := zstd.NewWriter(nil, zstdOptions...)
				return encoder(e)
			}},
			header.Brotli: {New: func() any {
				return encoder(brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: c.BrotliLevel, LGWin: windowBits}))
			}},
			header.Gzip: {New: func() any {
				e, _ := gzip.NewWriterLevel(nil, c.GzipLevel)
				return encoder(e)
			}},
		},
		buffers: sync.Pool{New: func() any { return new([copyBytes]byte) }},
	}, nil
}

// Wrap compresses what next answers.
func (c *Compressor) Wrap(next http.Handler) http.Handler {
	if c.config.Off {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &writer{ResponseWriter: w, c: c, r: r}
		if !header.Has(r.Header["Cache-Control"], "no-transform") {
			out.coding, out.must = header.Encoding(r.Header["Accept-Encoding"], c.config.Encodings)
		}
		next.ServeHTTP(out, r)
		// Not where next panics: a body that was broken off must not be ended as if it were whole.
		out.finish()
	})
}
