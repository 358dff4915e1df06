// Package http2 is the HTTP/2 server of the proxy (RFC 9113): it reads requests off connections that others have accepted, gives
// them to an http.Handler, and writes the answers. The frames are read by golang.org/x/net/http2, and fields by its hpack.
//
// The model in words. One goroutine reads a connection and acts on each frame; each request has a goroutine of its own, one that
// has served others before. Whoever has something to say to the client puts whole frames behind what is to be written, under
// the connection's lock; while there is something, one more goroutine writes it, all that there is at once. So a burst of answers
// is one record of TLS and one system call, and nobody hands a frame to anybody else. Who would have more in memory than a bound
// waits, for the socket, for the client's windows, or for the handler to read a body.
//
// A connection without a request gives back its buffers after a moment, and its goroutine too: what is left is what the two
// sides have agreed on for the compression of fields, and a wait for the socket with the smallest stack.
//
// It takes nothing on trust that a client sends. What a frame may not say ends the stream, or the connection, with the error that
// RFC 9113 has for it. Everything is bounded: the streams that are open and the handlers that run, so that a client which resets
// what it has asked for gains nothing; heads, in bytes and, by the time of the first, in time; bodies that nobody has read yet, by
// windows; answers that nobody takes, by time. It pushes nothing, and knows nothing of routes, TLS or limits.
package http2
