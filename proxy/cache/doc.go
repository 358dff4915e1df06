// Package cache is a shared HTTP cache (RFC 9111) as a handler in front of another handler.
//
// A Store holds responses: small ones in memory, large ones as files. It belongs to no route and survives a reload. A Cache is
// the caching of one route: it looks requests up in a store, answers by what it finds, and otherwise lets the next handler
// answer and stores what may be stored. What may be stored is decided by the response, with two exceptions on the careful
// side: answers with Set-Cookie and answers to requests with Authorization need more than a max-age, and nothing is assumed
// to be for everybody that was asked for with a cookie.
//
// One fetch serves all who want the same at the time, unless its answer turns out to be for one client only; addresses
// that answer like that are remembered, and nobody waits for them. A fetch runs on its own goroutine, so that neither a slow
// client nor one that leaves holds up the others. Whoever waits does so for a bounded time, and asks by itself when the one
// it waited for failed.
//
// For the next handler that means: it is called with a copy of the request, without a body, and with a writer of the
// cache's own, which is the only way to the client; the request that caused it may be over while it runs. Values of the
// request's context stay, its end does not. What it has to know of the client therefore belongs into the context, by value.
//
// It never stores a part of a body, never answers from what was invalidated, and never evaluates If-Match or
// If-Unmodified-Since, which are the origin's. docs/cache.md says what it makes of each directive, and how it does in the
// tests that others wrote.
package cache
