// Package wire is what travels between platformd and its callers: the requests and answers of the HTTP API, and the problem
// that every refusal is.
//
// The model in words. Each route of the API takes and gives exactly one of these types, as JSON. A refusal is a Problem
// (RFC 9457) whose Code says what kind it is; callers branch on the code and show the detail. Times are RFC 3339, in UTC
// where the daemon made them; durations are texts such as "30m", "12h", "7d" or "2w".
//
// It decides nothing, opens nothing, and imports only the domains' own types, so that a command which starts for each
// block costs nothing but what it uses.
package wire
