// Package limits decides whether a request may go on, has to wait, or is turned away because its source, or everybody
// together, asks for too much; and which of the answers that a client got say that it means harm.
//
// The model in words. A Config names limits (ratelimit.Limit: a rate with a burst, and how many at once) for each client,
// for each network, for logins of each client, and for all together. There is one for the proxy as a whole and one for each
// route; a request has to fit them all. A client is an IPv4 address or an IPv6 /64, a network an IPv4 /24 or an IPv6 /48.
// Rates are decided by GCRA: a source that was idle may send its burst at once, and then one request each period over rate.
//
// Penalties grow. A request that is a little early is held back until its time has come; one that is earlier than that is
// answered 429 and told when to come again, and so is one of a client that was held back again and again without a pause; a
// client that goes on all the same becomes a strike, which may lead to a ban.
// What is too much for all together is nobody's fault: it is answered 503, and strikes nobody.
//
// A Limiter keeps what it knows of sources in a table of fixed size, made once, and outlives every configuration: limits are
// found again by the name of their route. Where the table is full, the source goes whose state is worth least: one that
// has just been refused can be pushed out only by sources that are refused themselves.
//
// The package holds no request back itself, writes no answer and bans nobody.
package limits
