package statsig

import (
	"net/http"
	"strconv"

	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// A bodyOf finds one of the two bodies of a version.
type bodyOf func(*follower.Version) (*follower.Download, error)

// specs answers a spec download with the one body of the version, in an encoding
// that the caller reads.
func (a *API) specs(body bodyOf) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		token, err := fileToken(r)
		if err != nil {
			return err
		}
		visit, err := a.gate.Server(w, r, token)
		if err != nil {
			return err
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "private, no-cache")
		h.Set("Vary", "Accept-Encoding")
		if since(r) >= visit.Version.SpecTime {
			_, _ = w.Write([]byte(protocol.NoUpdates)) // the caller has gone: nobody is left to tell
			return nil
		}
		download, err := body(visit.Version)
		if err != nil {
			return err
		}
		encoding := negotiate(r.Header.Values("Accept-Encoding"), smallest)
		etag := download.ETag(encoding)
		h.Set("ETag", etag)
		if web.NoneMatch(r, etag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		if encoding != "" {
			h.Set("Content-Encoding", encoding)
		}
		text := download.Body(encoding)
		h.Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text) // as above
		return nil
	}
}

// since is the time of the rules that the caller holds. Who holds none says 0, or
// nothing, or something that is no time, and must get them: for all these it is
// before any other.
func since(r *http.Request) int64 {
	if r.URL.RawQuery == "" {
		return -1
	}
	ms, err := strconv.ParseInt(r.URL.Query().Get("sinceTime"), 10, 64)
	if err != nil || ms <= 0 {
		return -1
	}
	return ms
}
