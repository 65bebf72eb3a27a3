package web_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-flags/sluice/internal/web"
)

func TestAStreamIsReadInEveryEncodingAndNoFurtherThanItsLimits(t *testing.T) {
	text := strings.Repeat("one line of many\n", 1000)
	limits := web.Limits{Raw: 20_000, Inflated: 20_000}
	for encoding, encoder := range map[string]func(io.Writer) io.WriteCloser{
		"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"Deflate": func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, 5); return z }, // a lawful level
		"br":      func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		"zstd":    func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }, // without options
		"":        nil,
	} {
		for _, tt := range []struct {
			name, body string
			status     int
		}{{"within", text, 200}, {"beyond", text + text, 413}} {
			body := []byte(tt.body)
			if encoder != nil {
				body = compressed(t, encoder, body)
			}
			status, got := 200, []byte(nil)
			stream, err := web.Stream(post(body, "Content-Encoding", encoding), limits)
			if err == nil {
				got, err = io.ReadAll(stream)
				if closed := stream.Close(); closed != nil {
					t.Errorf("%q: Close() = %v", encoding, closed)
				}
			}
			if err != nil {
				status = web.StatusOf(err)
			}
			if status != tt.status || tt.status == 200 && !bytes.Equal(got, []byte(tt.body)) {
				t.Errorf("Stream(%q, %s its limits) = %d bytes, status %d, %v; want %d bytes, %d", encoding, tt.name, len(got), status, err, len(tt.body), tt.status)
			}
		}
	}
	for encoding, want := range map[string]int{"gzip": 400, "snappy": 415} {
		if _, err := web.Stream(post([]byte("neither"), "Content-Encoding", encoding), limits); web.StatusOf(err) != want {
			t.Errorf("Stream(%q) of something else = %v, want status %d", encoding, err, want)
		}
	}
}
