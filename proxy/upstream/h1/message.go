package h1

import (
	"io"
	"net/http"
)

// Field is one header line of a request.
type Field struct{ Name, Value string }

// Request is what is sent. The pool owns it until the answer is closed, or Do failed.
type Request struct {
	Method string
	Target string // path and query, as they are written on the request line
	Host   string
	// OwnHost asks whoever chooses the back end to put its host in the place of Host.
	OwnHost bool
	// Fields are those from end to end: those of the connection, and of framing, are written by the client itself.
	Fields []Field

	// Data is a whole body that can be sent again; where it is nil there may be a Body, which is read once.
	Data []byte
	Body io.Reader
	// Length is that of Body, -1 where it is not known.
	Length int64
	// Announced are names of trailers that come behind Body, and Trailer gives them once it was read to its end.
	Announced []string
	Trailer   func() http.Header

	// Upgrade is the other protocol that is asked for, as "websocket".
	Upgrade string
	// Expect sends the body only when the back end asks for it, or says nothing for a second (RFC 9110, section 10.1.1).
	Expect bool
	// TrailersOK tells the back end that trailers of its answer are taken (TE: trailers).
	TrailersOK bool
	// Safe says that sending the request twice is the same as once, so that it may be.
	Safe bool

	// Into gets the fields of the answer that are from end to end.
	Into http.Header
	// Interim gets informational answers but 100 and 101; nil drops them.
	Interim func(status int, fields http.Header)
	// Stop makes a Read of Body that waits for more return soon; it is called from another goroutine.
	Stop func()
}

// Response is the head of an answer. It may be used until its Body is closed.
type Response struct {
	Status int
	Major  int
	Minor  int
	// Length is that of the body, -1 where it ends by itself. It is 0 where there is none, whatever the head says.
	Length int64
	// Announced are names of trailers that the head promises.
	Announced []string
	Body      Body
	// Early says that the answer came before the request was read to its end.
	Early bool
}

// Body is that of an answer.
type Body interface {
	// Next is the next piece, which may be used until the next call; io.EOF behind the last.
	Next() ([]byte, error)
	// Ready reports whether Next would not have to wait.
	Ready() bool
	// Trailer is what came behind the body, nil where nothing did. It is for after io.EOF.
	Trailer() http.Header
	// Tunnel gives the connection away after 101, with what was read of the other protocol.
	Tunnel() (io.ReadWriteCloser, []byte)
	// Close ends the exchange. It waits until nobody reads the request's body any more.
	Close()
}
