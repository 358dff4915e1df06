// Package certs keeps the certificates of this host, and keeps them valid.
//
// The model in words. Names are wanted: those of the routes, and those that the document adds. A wanted name has at once a
// certificate that we sign ourselves; where an e-mail address and the agreement to a CA's terms are in the document, a CA is
// asked for a real one (the first of the list that grants it), and asked again in time: under 30 days before the end, or a
// third of the lifetime where that is less, or when the CA says so (RFC 9773). No other name is ever asked for, and a name
// that a wildcard or an imported certificate covers is not asked for either. What fails is tried again later and later, for
// each name and CA by itself, also after a restart; a failure never delays another name.
//
// Manager decides and Store remembers: chains as they are, private keys, account keys and secrets of DNS providers sealed
// with a key that only root can read. The conversation with a CA is somebody else's (Issuer), because it parses bytes from
// outside; what comes of it is checked here before it is kept. Such a check parses X.509, which is the one thing here that
// reads what a stranger made: it is bounded in size and number, and done by the standard library.
//
// A handshake never leads to an order, to a new key for a name that nobody wants, or to a read of the database for one.
// No error, log line or activity record holds a key or a secret.
package certs
