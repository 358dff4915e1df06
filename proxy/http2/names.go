package http2

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// common are names that answers often have, as they are written.
var common = func() map[string]string {
	m := map[string]string{}
	for name := range strings.FieldsSeq(`accept-ranges age allow alt-svc cache-control cache-status content-disposition content-encoding
		content-language content-length content-location content-range content-security-policy content-type cross-origin-opener-policy
		cross-origin-resource-policy date etag expires last-modified link location permissions-policy referrer-policy retry-after
		server set-cookie strict-transport-security trailer vary via www-authenticate x-content-type-options x-download-options
		x-frame-options x-permitted-cross-domain-policies x-request-id x-xss-protection x-robots-tag
		access-control-allow-credentials access-control-allow-headers access-control-allow-methods access-control-allow-origin
		access-control-expose-headers access-control-max-age x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset`) {
		m[http.CanonicalHeaderKey(name)] = name
	}
	return m
}()

// lowerName is a name as HTTP/2 writes it, "" where it is none.
func lowerName(name string) string {
	if l, ok := common[name]; ok {
		return l
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return ""
	}
	return strings.ToLower(name)
}

func statusText(status int) string {
	if status == http.StatusOK {
		return "200"
	}
	return strconv.Itoa(status)
}
