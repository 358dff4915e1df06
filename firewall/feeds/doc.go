// Package feeds keeps block lists that somebody else maintains: it reads their formats, judges whether what came is
// plausible, keeps the last good copy of each, and says when to ask again.
//
// The model in words. Outside bytes become ranges in Parse, which runs in an unprivileged process. Vet removes what no feed
// may block (private, reserved and over-wide ranges) and reports what collides with the host's own and always-allowed
// addresses. A copy that is suddenly much smaller or larger than the last good one is held back until somebody confirms
// it. Store keeps, per feed, the last good copy as a file of ranges and a small JSON file beside it; unchanged content
// changes nothing. Union joins the copies of all feeds into the one set that the kernel gets, without own and
// always-allowed addresses, so that a change of those needs no new fetch.
//
// This package never opens a connection (that is feeds/fetch) and never touches the kernel. A feed that fails, lies or
// vanishes leaves the last good copy in force.
package feeds
