package limits

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// SetHeaders tells a client what it has left, as X-RateLimit-Limit, -Remaining and -Reset, and in the form of the IETF's draft
// (draft-ietf-httpapi-ratelimit-headers). Reset is in seconds from now, after which the whole of Limit is there again. What a
// back end says itself about its own limits stays.
func (q Quota) SetHeaders(h http.Header) {
	if q.Limit == 0 || h["X-Ratelimit-Limit"] != nil || h["Ratelimit"] != nil {
		return
	}
	limit, left, reset := strconv.Itoa(q.Limit), strconv.Itoa(q.Remaining), strconv.Itoa(seconds(q.Reset))
	h["X-Ratelimit-Limit"] = []string{limit}
	h["X-Ratelimit-Remaining"] = []string{left}
	h["X-Ratelimit-Reset"] = []string{reset}
	h["Ratelimit-Policy"] = []string{`"client";q=` + limit + ";w=" + strconv.Itoa(seconds(q.Per))}
	h["Ratelimit"] = []string{`"client";r=` + left + ";t=" + reset}
}

// RetryAfterHeader is the value of Retry-After: whole seconds, at least one.
func (v Verdict) RetryAfterHeader() string { return strconv.Itoa(max(1, seconds(v.RetryAfter))) }

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
