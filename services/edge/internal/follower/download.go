package follower

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Download is one body of a spec download. It is made once for everybody who
// asks, and so is each compressed form of it.
type Download struct {
	digest string // names the content, whoever serves it
	plain  []byte
	gzip   func() []byte
	br     func() []byte
	zstd   func() []byte
}

// downloads are the bodies of one generation, made when first asked for.
type downloads struct {
	v1, v2 func() (*Download, error)
}

// newDownloads keeps the state until somebody asks for a body, which then says
// that it is of the given time.
func newDownloads(state *flags.State, scope flags.Scope, at int64) *downloads {
	specs := sync.OnceValue(func() eval.Specs {
		s := flags.Lower(state, scope)
		s.Time = at
		return s
	})
	of := func(encode func(eval.Specs) ([]byte, error)) func() (*Download, error) {
		return sync.OnceValues(func() (*Download, error) {
			body, err := encode(specs())
			if err != nil {
				return nil, err
			}
			return newDownload(body), nil
		})
	}
	return &downloads{v1: of(statsig.EncodeV1), v2: of(statsig.EncodeV2)}
}

func newDownload(body []byte) *Download {
	digest := sha256.Sum256(body)
	return &Download{
		digest: hex.EncodeToString(digest[:12]), plain: body,
		gzip: sync.OnceValue(func() []byte { return gzipped(body) }),
		br:   sync.OnceValue(func() []byte { return brotlied(body) }),
		zstd: sync.OnceValue(func() []byte { return zstded(body) }),
	}
}

// V1 returns the v1 spec download of the version.
func (v *Version) V1() (*Download, error) { return v.downloads.v1() }

// V2 returns the v2 spec download of the version.
func (v *Version) V2() (*Download, error) { return v.downloads.v2() }

// ETag returns the strong entity tag of the body in an encoding: other bytes have
// another tag.
func (d *Download) ETag(encoding string) string {
	if encoding == "" {
		return `"` + d.digest + `"`
	}
	return `"` + d.digest + "-" + encoding + `"`
}

// Body returns the body in an encoding: "", "gzip", "br" or "zstd". The bytes
// are shared: do not change them.
func (d *Download) Body(encoding string) []byte {
	switch encoding {
	case "gzip":
		return d.gzip()
	case "br":
		return d.br()
	case "zstd":
		return d.zstd()
	}
	return d.plain
}
