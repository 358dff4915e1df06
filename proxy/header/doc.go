// Package header reads and writes the HTTP field values that several parts of the proxy have in common: lists, entity tags,
// Vary, Accept-Encoding and its negotiation, and which content types are worth compressing.
//
// Everything here works on bytes that a client or a back end sent. It never fails: what cannot be read is left out, as
// RFC 9110 asks of recipients, and it takes time linear in its input.
package header
