// Package stream moves bytes and datagrams between a client and a back end, and looks no further into them than at the name in a
// TLS hello.
//
// The model in words. A Pipe is two TCP connections, with TLS or without: what one sends the other gets, each direction ends by
// itself (half-close), and the whole ends when both have ended, when nothing has moved for a while in either direction, or when
// one breaks. Between two connections without TLS the kernel moves the bytes (splice(2)). Memory is bounded by one buffer for each
// direction: who does not take what it is sent stops the other. A Hello is the first message of a TLS client, read by crypto/tls
// itself and kept as it came. Sessions make of datagrams what looks like connections: one for each client and address of ours
// that it sends to, so that answers come from there.
//
// It chooses no back end, admits nobody and writes no log: whoever uses it does.
package stream
