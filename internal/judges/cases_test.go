package judges

import "strings"

// attack is what a client sends over one connection of HTTP/1.1. "@" stands for the path of the case, below which every
// request of it lies, those included that are smuggled.
type attack struct {
	name string
	send string
	// whole is how many requests a back end must see, complete. With cut, one more may have begun when the proxy found out:
	// a body has been passed on up to the place that is wrong.
	whole int
	cut   bool
}

// smuggled is a request that nobody sent, for one who reads the framing wrongly.
const smuggled = "GET @/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"

// post begins a request with header lines.
func post(lines ...string) string {
	return "POST @/first HTTP/1.1\r\nHost: a.test\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// get is a request with header lines.
func get(lines ...string) string {
	return "GET @/first HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const next = "GET @/next HTTP/1.1\r\nHost: a.test\r\n\r\n"

// attacks are those over HTTP/1.1.
var attacks = []attack{
	// What must go on working.
	{name: "two requests", send: get("Host: a.test") + next, whole: 2},
	{name: "a body by length, then a request", send: post("Content-Length: 5") + "hello" + next, whole: 2},
	{name: "a body in chunks, then a request", send: post("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n" + next, whole: 2},
	{name: "chunks with an extension and a trailer", send: post("Transfer-Encoding: chunked") + "5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n" + next, whole: 2},
	{name: "a request as a body", send: post("Content-Length: 40") + "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},

	// Two lengths.
	{name: "CL.TE", send: post("Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nG" + smuggled},
	{name: "TE.CL", send: post("Transfer-Encoding: chunked", "Content-Length: 3") + "8\r\nsmuggled\r\n0\r\n\r\n" + smuggled},
	{name: "CL.0", send: "GET @/first HTTP/1.1\r\nHost: a.test\r\nContent-Length: 47\r\nContent-Length: 0\r\n\r\n" + smuggled},
	{name: "CL.CL, different", send: post("Content-Length: 0", "Content-Length: 60") + smuggled},
	{name: "CL.CL, the same", send: post("Content-Length: 5", "Content-Length: 5") + "hello" + smuggled},
	{name: "CL as a list", send: post("Content-Length: 5, 5") + "hello" + smuggled},
	{name: "CL with a plus", send: post("Content-Length: +5") + "hello" + smuggled},
	{name: "CL negative", send: post("Content-Length: -5") + smuggled},
	{name: "CL in hexadecimal", send: post("Content-Length: 0x5") + "hello" + smuggled},
	{name: "CL with an underscore in it", send: post("Content-Length: 1_0") + "helloworld" + smuggled},
	{name: "CL empty", send: post("Content-Length:") + smuggled},
	{name: "CL too large for 63 bits", send: post("Content-Length: 18446744073709551617") + "h" + smuggled},
	{name: "CL with other digits", send: post("Content-Length: \u0665") + "hello" + smuggled},
	{name: "CL with a fraction", send: post("Content-Length: 5.0") + "hello" + smuggled},

	// Transfer-Encoding that one reads and another does not.
	{name: "TE.TE, second unknown", send: post("Transfer-Encoding: chunked", "Transfer-Encoding: x") + "0\r\n\r\n" + smuggled},
	{name: "TE.TE, first unknown", send: post("Transfer-Encoding: x", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE twice", send: post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE xchunked", send: post("Content-Length: 4", "Transfer-Encoding: xchunked") + "0\r\n\r" + smuggled},
	{name: "TE identity", send: post("Content-Length: 4", "Transfer-Encoding: identity") + "test" + smuggled},
	{name: "TE gzip, chunked", send: post("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE chunked, identity", send: post("Transfer-Encoding: chunked, identity") + "0\r\n\r\n" + smuggled},
	{name: "TE in quotes", send: post("Content-Length: 4", "Transfer-Encoding: \"chunked\"") + "0\r\n\r" + smuggled},
	{name: "TE with a space before the colon", send: post("Content-Length: 5", "Transfer-Encoding : chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE with a tab before the colon", send: post("Content-Length: 5", "Transfer-Encoding\t: chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE with a tab in front of its value", send: post("Transfer-Encoding:\tchunked") + "0\r\n\r\n" + next, whole: 2},
	{name: "TE with a vertical tab", send: post("Content-Length: 5", "Transfer-Encoding:\x0bchunked") + "0\r\n\r\n" + smuggled},
	{name: "TE with a form feed", send: post("Content-Length: 5", "Transfer-Encoding: \x0cchunked") + "0\r\n\r\n" + smuggled},
	{name: "TE with a NUL behind it", send: post("Content-Length: 5", "Transfer-Encoding: chunked\x00") + "0\r\n\r\n" + smuggled},
	{name: "TE with a space in front of its name", send: post("Content-Length: 5", " Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE on a continued line", send: post("Content-Length: 5", "Transfer-Encoding:\r\n chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE behind a bare CR", send: post("Content-Length: 5", "X: y\rTransfer-Encoding: chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE behind a bare LF", send: post("Content-Length: 5", "X: y\nTransfer-Encoding: chunked") + "0\r\n\r\n" + smuggled},
	{name: "TE with an underscore, beside CL", send: post("Content-Length: 5", "Transfer_Encoding: chunked") + "hello" + next, whole: 2},
	{name: "CL with an underscore, beside TE", send: post("Content_Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n" + next, whole: 2},
	{name: "TE in HTTP/1.0", send: "POST @/first HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled},
	{name: "CL taken away by Connection", send: post("Connection: Content-Length, keep-alive", "Content-Length: 5") + "hello" + next, whole: 2},
	{name: "TE taken away by Connection", send: post("Connection: Transfer-Encoding, keep-alive", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n" + next, whole: 2},

	// Lines.
	{name: "bare LF everywhere", send: "GET @/first HTTP/1.1\nHost: a.test\n\n" + smuggled},
	{name: "bare LF behind the request line", send: "GET @/first HTTP/1.1\nHost: a.test\r\n\r\n" + smuggled},
	{name: "bare LF as the blank line", send: "GET @/first HTTP/1.1\r\nHost: a.test\r\n\n" + smuggled},
	{name: "bare CR as the blank line", send: "GET @/first HTTP/1.1\r\nHost: a.test\r\n\r" + smuggled},
	{name: "bare CR in a value", send: get("Host: a.test", "X: a\rb") + smuggled},
	{name: "obs-fold", send: get("Host: a.test", "X: a", " b") + smuggled},
	{name: "obs-fold in the first field", send: get(" Host: a.test", "Host: a.test") + smuggled},
	{name: "NUL in a value", send: get("Host: a.test", "X: a\x00b") + smuggled},
	{name: "NUL in a name", send: get("Host: a.test", "X\x00: a") + smuggled},
	{name: "a line without a colon", send: get("Host: a.test", "Nothing") + smuggled},
	{name: "a name that is empty", send: get("Host: a.test", ": a") + smuggled},
	{name: "a name with a space in it", send: get("Host: a.test", "X Y: a") + smuggled},
	{name: "a blank line in front", send: "\r\n" + get("Host: a.test"), whole: 0},
	{name: "a version that is not there", send: "GET @/first HTTP/1.2\r\nHost: a.test\r\n\r\n" + smuggled},
	{name: "HTTP/0.9", send: "GET @/first\r\n\r\n" + smuggled},
	{name: "two versions", send: "GET @/first HTTP/1.1 HTTP/1.1\r\nHost: a.test\r\n\r\n" + smuggled},
	{name: "a tab in the request line", send: "GET\t@/first\tHTTP/1.1\r\nHost: a.test\r\n\r\n" + smuggled},
	{name: "two spaces in the request line", send: "GET  @/first HTTP/1.1\r\nHost: a.test\r\n\r\n" + smuggled},
	{name: "a lower-case version", send: "GET @/first http/1.1\r\nHost: a.test\r\n\r\n" + smuggled},

	// Chunks.
	{name: "a chunk size with a plus", send: post("Transfer-Encoding: chunked") + "+5\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a chunk size with 0x", send: post("Transfer-Encoding: chunked") + "0x5\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a chunk size with an underscore", send: post("Transfer-Encoding: chunked") + "1_0\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a chunk size that is negative", send: post("Transfer-Encoding: chunked") + "-5\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a chunk size that is empty", send: post("Transfer-Encoding: chunked") + "\r\n" + smuggled, cut: true},
	{name: "a chunk size beyond 64 bits", send: post("Transfer-Encoding: chunked") + "10000000000000005\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a chunk size behind a space", send: post("Transfer-Encoding: chunked") + " 5\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a chunk size before a space", send: post("Transfer-Encoding: chunked") + "5 \r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a chunk size with a bare LF", send: post("Transfer-Encoding: chunked") + "5\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "an extension with a bare LF", send: post("Transfer-Encoding: chunked") + "5;a\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "an extension with a bare CR", send: post("Transfer-Encoding: chunked") + "5;a\rb\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "data longer than its size", send: post("Transfer-Encoding: chunked") + "5\r\nhelloworld\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "data shorter than its size", send: post("Transfer-Encoding: chunked") + "9\r\nhello\r\n0\r\n\r\n" + smuggled, cut: true},
	{name: "a bare LF behind data", send: post("Transfer-Encoding: chunked") + "5\r\nhello\n0\r\n\r\n" + smuggled, cut: true},
	{name: "two other bytes behind data", send: post("Transfer-Encoding: chunked") + "5\r\nhelloXX0\r\n\r\n" + smuggled, cut: true},
	{name: "the last chunk ends with a bare LF", send: post("Transfer-Encoding: chunked") + "0\r\n\n" + smuggled, cut: true},
	{name: "the last chunk ends with a bare CR", send: post("Transfer-Encoding: chunked") + "0\r\n\r" + smuggled, cut: true},
	{name: "a last chunk of many zeros", send: post("Transfer-Encoding: chunked") + "000000\r\n\r\n" + next, whole: 2},
	{name: "a trailer with a length", send: post("Transfer-Encoding: chunked") + "0\r\nContent-Length: 60\r\n\r\n" + smuggled, cut: true},
	{name: "a trailer with a coding", send: post("Transfer-Encoding: chunked") + "0\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled, cut: true},
	{name: "a trailer that is a request line", send: post("Transfer-Encoding: chunked") + "0\r\n" + smuggled, cut: true},

	// Host and target.
	{name: "two Hosts", send: get("Host: a.test", "Host: b.test") + smuggled},
	{name: "the same Host twice", send: get("Host: a.test", "Host: a.test") + smuggled},
	{name: "no Host", send: get("X: a") + smuggled},
	{name: "an empty Host", send: get("Host:") + next, whole: 1},
	{name: "a list of Hosts", send: get("Host: a.test, b.test") + smuggled},
	{name: "Host with a space in it", send: get("Host: a.test b.test") + smuggled},
	{name: "Host with a path", send: get("Host: a.test/smuggled") + smuggled, whole: 0},
	{name: "Host with a user", send: get("Host: b.test@a.test"), whole: 0},
	{name: "Host with a port that is none", send: get("Host: a.test:80x"), whole: 0},
	{name: "Host with a dot and a port", send: get("Host: A.test.:443"), whole: 1},
	{name: "a target with the same host", send: "GET https://a.test@/first HTTP/1.1\r\nHost: a.test\r\n\r\n", whole: 1},
	{name: "a target with another host", send: "GET https://b.test@/first HTTP/1.1\r\nHost: a.test\r\n\r\n" + smuggled},
	{name: "a target with a user", send: "GET https://a.test@b.test@/first HTTP/1.1\r\nHost: b.test\r\n\r\n" + smuggled},
	{name: "a target of another scheme", send: "GET file://a.test@/first HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},
	{name: "a target without a slash", send: "GET first@ HTTP/1.1\r\nHost: a.test\r\n\r\n" + smuggled},
	{name: "a target that is a host and a port", send: "GET a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "a target that begins with two slashes", send: "GET //b.test@/first HTTP/1.1\r\nHost: a.test\r\n\r\n", whole: 1},
	{name: "CONNECT", send: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n" + smuggled},
	{name: "CONNECT, then CL.TE", send: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n" + post("Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nG" + smuggled},
	{name: "OPTIONS *", send: "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "a method that nobody knows", send: "BREW @/first HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},

	// Other protocols.
	{name: "h2c upgrade", send: get("Host: a.test", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA") + smuggled, whole: 1},
	{name: "h2c upgrade with a body", send: post("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", "Content-Length: 5") + "hello" + smuggled},
	{name: "the preface of HTTP/2", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled},
	{name: "WebSocket without a key", send: get("Host: a.test", "Connection: Upgrade", "Upgrade: websocket") + smuggled, whole: 1},
	{name: "WebSocket with a bad version", send: get("Host: a.test", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 77", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==") + smuggled, whole: 1},
	{name: "Upgrade with TE", send: post("Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled},
	{name: "Expect, and a body at once", send: post("Expect: 100-continue", "Content-Length: 5") + "hello" + next, whole: 2},
	{name: "Expect that nobody knows", send: post("Expect: x", "Content-Length: 5") + "hello" + smuggled},

	// Who is asking, and for what.
	{name: "X-Forwarded-For of the client", send: get("Host: a.test", "X-Forwarded-For: 192.0.2.1") + next, whole: 2},
	{name: "X_Forwarded_For of the client", send: get("Host: a.test", "X_Forwarded_For: 192.0.2.1", "X-Forwarded_For: 192.0.2.2") + next, whole: 2},
	{name: "X-Forwarded-For taken away by Connection", send: get("Host: a.test", "Connection: X-Forwarded-For, X-Real-Ip, Host, keep-alive") + next, whole: 2},
	{name: "dot segments", send: "GET @/x/../first HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},
	{name: "dot segments, encoded", send: "GET @/x/%2e%2e/first HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},
	{name: "dot segments behind an encoded slash", send: "GET @/x%2f..%2ffirst HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "dot segments behind a backslash", send: "GET @/x\\..\\first HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "dot segments with a parameter", send: "GET @/x/..;/first HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "an encoded line in the path", send: "GET @/x%0d%0aHost:%20b.test HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "an encoded NUL in the path", send: "GET @/x%00 HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "a bad escape in the path", send: "GET @/x%zz HTTP/1.1\r\nHost: a.test\r\n\r\n" + smuggled},
	{name: "a fragment", send: "GET @/first#x HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},
	{name: "a fragment in the query", send: "GET @/first?a#b HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 1},
	{name: "other bytes in the path", send: "GET @/\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},
	{name: "other bytes in the query", send: "GET @/first?\xc3\xa9\xff HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},
	{name: "quotes in the query", send: "GET @/first?\"<>{}|\\^` HTTP/1.1\r\nHost: a.test\r\n\r\n" + next, whole: 2},
}
