package http1

import (
	"net/http"
	"time"
)

// date is the line of a head that says the time, for one second.
type date struct {
	second int64
	text   string
}

func (s *Server) dateLine(now time.Time) string {
	if d := s.date.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &date{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
	s.date.Store(d)
	return d.text
}
