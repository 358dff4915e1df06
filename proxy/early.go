package proxy

import "net/http"

// settled holds back what could be a replay. With 0-RTT a request comes before the client has shown that it is there, and
// somebody who has recorded it can send it again (RFC 8470). What changes nothing may go on, and the back end is told; anything
// else waits until the handshake is over, with which a replay ends. It reports whether the request may go on.
func (s *Server) settled(x *exchange) bool {
	if !x.conn.early() {
		return true
	}
	r := x.request
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		if r.ContentLength == 0 && x.route.clients == nil {
			r.Header["Early-Data"] = []string{"1"}
			return true
		}
	}
	select {
	case <-x.conn.shaken:
		return true
	case <-r.Context().Done():
		s.fail(x, http.StatusTooEarly, "the handshake did not end")
		return false
	}
}
