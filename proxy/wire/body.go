package wire

import "net/http"

// Bounds of a chunked body: of the line before a chunk, and of all trailers together, in bytes.
const (
	MaxLine     = 4 << 10
	MaxTrailers = 16 << 10
)

// Phase is where in a body a connection is.
type Phase uint8

// The phases. In InLength and InChunk the bytes that follow are data; in AtSize, BehindChunk and InTrailer a line follows.
const (
	AtEnd       Phase = iota
	InLength          // Left bytes to go
	UntilClose        // until the connection ends
	AtSize            // the line before a chunk
	InChunk           // Left bytes of a chunk to go
	BehindChunk       // its CRLF
	InTrailer         // behind the last chunk
)

// Body is how far a body was read, of a request or of an answer (RFC 9112, sections 6 and 7.1): both sides of the proxy mean the
// same by a chunk, so that nothing can be hidden between them. The zero value is at its end.
type Body struct {
	Phase   Phase
	Left    int64
	Trailer http.Header
	extra   int // bytes of trailers
}

// Took notes n bytes of data, at most Left.
func (b *Body) Took(n int) {
	if b.Left -= int64(n); b.Left > 0 {
		return
	}
	if b.Phase == InChunk {
		b.Phase = BehindChunk
	} else {
		b.Phase = AtEnd
	}
}

// Step takes a line that is no data, without its CRLF. With a reason the body is malformed.
func (b *Body) Step(line []byte) (reason string) {
	switch b.Phase {
	case BehindChunk:
		if len(line) > 0 {
			return "a chunk is longer than its size"
		}
		b.Phase = AtSize
	case AtSize:
		size, ok := ChunkSize(line)
		if !ok {
			return "a chunk has a bad size"
		}
		if b.Phase, b.Left = InChunk, size; size == 0 {
			b.Phase = InTrailer
		}
	case InTrailer:
		return b.trailer(line)
	}
	return ""
}

func (b *Body) trailer(line []byte) (reason string) {
	if len(line) == 0 {
		b.Phase = AtEnd
		return ""
	}
	if b.extra += len(line) + 2; b.extra > MaxTrailers {
		return "the trailers are too long"
	}
	name, value, reason := Field(line)
	switch {
	case reason != "":
		return reason
	case Framing(name):
		return "a trailer changes what the head said"
	}
	if b.Trailer == nil {
		b.Trailer = http.Header{}
	}
	b.Trailer.Add(string(name), string(value))
	return ""
}
