package web

import (
	"net/http"
	"strings"
)

// NoneMatch reports whether If-None-Match names an entity tag, quotes included:
// the caller has this version already.
func NoneMatch(r *http.Request, etag string) bool {
	for _, line := range r.Header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || tag == etag {
				return true
			}
		}
	}
	return false
}
