package statsig

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Encodings in the order in which we would have them: what is made once and sent
// often should be small, what is made for one answer should be made quickly.
var (
	smallest = []string{"br", "zstd", "gzip"}
	quickest = []string{"zstd", "gzip", "br"}
)

// negotiate picks the encoding that the caller likes best, of equal ones the one
// that we prefer, or none.
func negotiate(accept, preferred []string) string {
	best, quality := "", 0.0
	for _, encoding := range preferred {
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
			name, parameters, _ := strings.Cut(item, ";")
			name = strings.TrimSpace(name)
			if name == "*" && !named || strings.EqualFold(name, encoding) {
				quality, named = weight(parameters), name != "*"
			}
		}
	}
	return quality
}

// weight is the parameter q of an item; one that is no number is 0, so that
// nobody gets what they may not be able to read.
func weight(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0) {
			return 0
		}
		return min(q, 1)
	}
	return 1
}

// worthIt is the length from which on compressing an answer pays.
const worthIt = 1 << 10

// Writers keep hundreds of kilobytes each, so they are used again.
var (
	gzips   = sync.Pool{New: func() any { w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return w }} // fails on levels that there are not
	brotlis = sync.Pool{New: func() any { return brotli.NewWriterLevel(nil, brotli.BestSpeed) }}
	zstds   = sync.Pool{New: func() any {
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10)) // as above
		return w
	}}
)

// respond answers with a JSON text that was made for this request alone, in an
// encoding that the caller reads. It does not keep the text.
func respond(w http.ResponseWriter, r *http.Request, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Vary", "Accept-Encoding")
	if len(text) >= worthIt {
		if encoding := negotiate(r.Header.Values("Accept-Encoding"), quickest); encoding != "" {
			packed := buffers.Get().(*bytes.Buffer)
			defer buffers.Put(packed)
			packed.Reset()
			compress(packed, encoding, text)
			h.Set("Content-Encoding", encoding)
			text = packed.Bytes()
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // the caller has gone: nobody is left to tell
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// compress appends text to dst in one of the encodings. Writing to memory cannot
// fail.
func compress(dst *bytes.Buffer, encoding string, text []byte) {
	switch encoding {
	case "gzip":
		z := gzips.Get().(*gzip.Writer)
		defer gzips.Put(z)
		z.Reset(dst)
		_, _ = z.Write(text)
		_ = z.Close()
	case "br":
		z := brotlis.Get().(*brotli.Writer)
		defer brotlis.Put(z)
		z.Reset(dst)
		_, _ = z.Write(text)
		_ = z.Close()
	case "zstd":
		z := zstds.Get().(*zstd.Encoder)
		defer zstds.Put(z)
		_, _ = dst.Write(z.EncodeAll(text, dst.AvailableBuffer()))
	}
}
