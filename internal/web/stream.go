package web

import (
	"io"
	"net/http"
	"strings"
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
	body, err := inflater(encoding, raw)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&bounded{r: body, left: limits.Inflated, beyond: Errorf(CodeTooLarge, "the body has more than %d bytes", limits.Inflated)}, body}, nil
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
