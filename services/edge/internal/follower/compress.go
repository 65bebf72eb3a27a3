package follower

import (
	"bytes"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bodies are compressed once and sent many times, so levels favour size a
// little. Writing to memory cannot fail.

func gzipped(body []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.DefaultCompression)
	_, _ = w.Write(body)
	_ = w.Close()
	return out.Bytes()
}

func brotlied(body []byte) []byte {
	var out bytes.Buffer
	w := brotli.NewWriterLevel(&out, 5)
	_, _ = w.Write(body)
	_ = w.Close()
	return out.Bytes()
}

func zstded(body []byte) []byte {
	w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	defer w.Close()
	return w.EncodeAll(body, nil)
}
