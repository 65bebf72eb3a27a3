package statsig

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluice-flags/sluice/internal/web"
)

// ReadBody returns the JSON text of an SDK's request, whatever it is wrapped
// in. SDKs say how in four ways, which are believed in this order: the header
// Content-Encoding (gzip, zstd, br, deflate); the query gz=1 for gzip without a
// header; the query se=1 or the header statsig-encoded: 1 for base64 written
// backwards; and the first bytes of the body. Content-Type is never believed.
//
// No more memory is spent than limits allow; errors are of type [web.Error].
func ReadBody(r *http.Request, limits web.Limits) ([]byte, error) {
	body, err := web.ReadRaw(r, limits)
	if err != nil {
		return nil, err
	}
	return Unwrap(r, body, limits)
}

// Unwrap is the second half of [ReadBody], for callers that have read the body
// of r themselves.
func Unwrap(r *http.Request, body []byte, limits web.Limits) (_ []byte, err error) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	switch {
	case encoding != "" && encoding != "identity":
	case parameter(r, "gz") == "1":
		encoding = "gzip"
	default:
		encoding = sniff(body)
	}
	if body, err = web.Inflate(encoding, body, limits); err != nil {
		return nil, err
	}
	if parameter(r, "se") == "1" || r.Header.Get("Statsig-Encoded") == "1" {
		return unreverse(body)
	}
	return body, nil
}

// sniff recognises compressed bytes that nobody declared.
func sniff(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(body, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	}
	return ""
}

// unreverse undoes the encoding of browsers: base64 with its characters in
// reverse order. A browser that cannot encode its text sends it as it is.
func unreverse(body []byte) ([]byte, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] == '{' || body[0] == '[' {
		return body, nil
	}
	reversed := slices.Clone(body)
	slices.Reverse(reversed)
	text := reversed[:base64.StdEncoding.DecodedLen(len(reversed))]
	n, err := base64.StdEncoding.Decode(text, reversed) // in place: writing never overtakes reading
	if err != nil {
		return nil, &web.Error{Code: web.CodeValidation, Message: "the body is not reversed base64, though the request says so", Err: err}
	}
	text = text[:n]
	if utf8.Valid(text) {
		return text, nil
	}
	// Browsers encode one byte per character, so text beyond ASCII is Latin-1.
	wide := make([]byte, 0, len(text)+len(text)/8)
	for _, b := range text {
		wide = utf8.AppendRune(wide, rune(b))
	}
	return wide, nil
}
