// Package h1 is an HTTP/1.1 client for a proxy: a pool of connections to one back end, on which requests are written and
// answers read by the goroutine that serves the client.
//
// The model in words. A Pool keeps idle connections, the last used first. Do takes one, writes the head of a request and
// what there is of its body, and reads the head of the answer. The caller takes the body piece by piece with Next, without
// it being copied, and Close gives the connection back, or ends it where anything is left over or in doubt. A request body
// of unknown or large size is sent by a goroutine of its own meanwhile, so that an answer may come before its end.
//
// What a back end says is judged as strictly as what a client says: one meaning or an error, and a head is handed on only
// when all of it was judged (RFC 9112, section 11). Nothing is repaired. Memory and time are bounded: the size of heads and
// trailers, the number of interim answers, how long a back end may take to connect, to answer, and to go on.
//
// It knows no TLS, no HTTP/2 and no balancing; it follows no redirect, keeps no cookies, and decodes nothing.
package h1
