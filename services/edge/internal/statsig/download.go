package statsig

import (
	"net/http"
	"strconv"
	"strings"

	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

func (a *API) specsV1(w http.ResponseWriter, r *http.Request) error {
	return a.specs(w, r, (*follower.Version).V1)
}

func (a *API) specsV2(w http.ResponseWriter, r *http.Request) error {
	return a.specs(w, r, (*follower.Version).V2)
}

// specs answers a spec download with the one body of the version, in an encoding
// that the caller reads.
func (a *API) specs(w http.ResponseWriter, r *http.Request, body func(*follower.Version) (*follower.Download, error)) error {
	visit, err := a.gate.Server(w, r, pathToken(r))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Accept-Encoding")

	// A caller without rules says 0, or nothing, or something that is no time:
	// it must get them.
	since, err := strconv.ParseInt(r.URL.Query().Get("sinceTime"), 10, 64)
	if err == nil && since > 0 && since >= visit.Version.Time {
		_, _ = w.Write([]byte(protocol.NoUpdates)) // the caller has gone: nobody is left to tell
		return nil
	}
	download, err := body(visit.Version)
	if err != nil {
		return err
	}
	encoding := negotiate(r.Header.Values("Accept-Encoding"))
	etag := `"` + download.ETag + `"`
	if encoding != "" {
		etag = `"` + download.ETag + "-" + encoding + `"` // other bytes, other tag
		h.Set("Content-Encoding", encoding)
	}
	h.Set("ETag", etag)
	if web.NoneMatch(r, etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	text := download.Body(encoding)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // as above
	return nil
}

// idLists answers with the id lists of the key: there are none yet whose members
// travel apart from their rules.
func (a *API) idLists(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.gate.Server(w, r, protocol.Token(r)); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte("{}"))
	return nil
}

// encodings are those that bodies come in, the smallest first.
var encodings = []string{"br", "zstd", "gzip"}

// negotiate picks the encoding that the caller likes best, of equal ones the
// smallest, or none.
func negotiate(accept []string) string {
	best, quality := "", 0.0
	for _, encoding := range encodings {
		if q := acceptable(accept, encoding); q > quality {
			best, quality = encoding, q
		}
	}
	return best
}

// acceptable returns the quality that Accept-Encoding gives to an encoding.
func acceptable(accept []string, encoding string) float64 {
	quality, named := 0.0, false
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			name, parameter, _ := strings.Cut(item, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name != encoding && (name != "*" || named) {
				continue
			}
			q := 1.0
			if value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
				var err error
				if q, err = strconv.ParseFloat(value, 64); err != nil {
					q = 0
				}
			}
			quality, named = q, name == encoding
		}
	}
	return quality
}
