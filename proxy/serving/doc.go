// Package serving is what the servers of HTTP/1 and HTTP/2 have in common: the connections that one has, the context of a
// request, the wait of a connection for its next, and small parts of answers.
//
// It reads nothing that clients send but the target of a request, and writes nothing.
package serving
