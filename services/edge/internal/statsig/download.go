package statsig

import (
	"net/http"
	"strconv"
	"strings"

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
		h["Content-Type"], h["Cache-Control"], h["Vary"] = jsonType, ownCopy, byEncoding
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
	for parameter := range strings.SplitSeq(r.URL.RawQuery, "&") {
		text, ok := strings.CutPrefix(parameter, "sinceTime=")
		if !ok {
			continue
		}
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms <= 0 {
			return -1
		}
		return ms
	}
	return -1
}

// Values of headers that every download shares; nobody appends to them.
var (
	jsonType   = []string{"application/json"}
	ownCopy    = []string{"private, no-cache"}
	byEncoding = []string{"Accept-Encoding"}
)
