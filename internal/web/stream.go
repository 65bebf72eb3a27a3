package web

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Stream returns the body of r to be read as it comes, decompressed like that of
// [ReadBody], for bodies that are too large to be held. Raw and Inflated of the
// limits bound it; reading beyond them is an [Error].
func Stream(r *http.Request, limits Limits) (io.ReadCloser, error) {
	limits = limits.withDefaults()
	tooLarge := Errorf(CodeTooLarge, "the body is larger than %d bytes", limits.Raw)
	if r.ContentLength > limits.Raw {
		return nil, tooLarge
	}
	var raw io.Reader = http.NoBody
	if r.Body != nil {
		raw = &bounded{r: r.Body, left: limits.Raw, beyond: tooLarge}
	}
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	body, err := inflating(encoding, raw)
	if _, ours := errors.AsType[*Error](err); err != nil && !ours {
		err = &Error{Code: CodeValidation, Message: "the body is not what its Content-Encoding says", Err: err}
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&bounded{r: body, left: limits.Inflated, beyond: Errorf(CodeTooLarge, "the body has more than %d bytes", limits.Inflated)}, body}, nil
}

func inflating(encoding string, raw io.Reader) (io.ReadCloser, error) {
	switch encoding {
	case "", "identity":
		return io.NopCloser(raw), nil
	case "gzip", "x-gzip":
		return gzip.NewReader(raw)
	case "deflate": // the zlib format by the book, bare deflate by many senders
		b := bufio.NewReader(raw)
		if head, _ := b.Peek(2); len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
			return zlib.NewReader(b)
		}
		return flate.NewReader(b), nil
	case "br":
		return io.NopCloser(brotli.NewReader(raw)), nil
	case "zstd":
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, Errorf(CodeUnsupportedMedia, "the Content-Encoding is not one of gzip, br, zstd, deflate, identity")
}

// bounded reads up to so many bytes; what comes then is an error.
type bounded struct {
	r      io.Reader
	left   int64
	beyond error
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.beyond
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, b.beyond
	}
	return n, err
}
