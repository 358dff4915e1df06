// Package http1 is the HTTP/1 server of the proxy: it reads requests off connections that others have accepted, gives them to
// an http.Handler, and writes the answers.
//
// The model in words. A connection has one goroutine. It reads until a head is whole and judges it, once: what two programs
// could read differently is refused with 400 and the end of the connection (RFC 9112, sections 2.2, 5.2, 6.3, 7.1 and 11.2),
// and the rest becomes a http.Request as net/http would make it. The handler runs on the same goroutine. Its answer is put
// together in one buffer, and leaves with the fewest system calls: head and body of a short answer are one write. Where the
// length of an answer is not known when it begins, a short one is counted, and a long one is sent in chunks.
//
// What costs a little for each request is done for many: deadlines are moved when they are an eighth off, and whether the client
// has left is looked at only for requests that take long. A connection without a request gives its buffers back after a
// moment, and even its goroutine: what is left waits for the socket with the smallest stack.
//
// It takes nothing on trust that a client sends, and bounds all of it: the size of a head and the number of its fields, lines
// between chunks, trailers, and the time for each of them. It never repairs what it reads, answers requests in their order, one
// after the other, and knows nothing of routes, TLS or limits.
package http1
