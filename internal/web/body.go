package web

import (
	"bufio"
	"bytes"
	"cmp"
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

// Limits bound what a body may cost. A zero field means its default.
type Limits struct {
	Raw      int64 // bytes on the wire: 1 MiB
	Inflated int64 // bytes after decompression: 4 MiB
	Ratio    int64 // inflated to raw: 100
	Depth    int   // nesting of JSON: 32
	Array    int   // elements of one JSON array: 10,000
	String   int   // bytes of one JSON string: 64 KiB

	// CaseVariants allows members of one object that differ in case only where
	// any member may stand. Data of a user may have them; what has a shape may
	// not, because a reader that ignores case would see something else.
	CaseVariants bool
	// Unknown allows members that the target has no field for.
	Unknown bool
}

func (l Limits) withDefaults() Limits {
	l.Raw = cmp.Or(l.Raw, 1<<20)
	l.Inflated = cmp.Or(l.Inflated, 4<<20)
	l.Ratio = cmp.Or(l.Ratio, 100)
	l.Depth = cmp.Or(l.Depth, 32)
	l.Array = cmp.Or(l.Array, 10_000)
	l.String = cmp.Or(l.String, 64<<10)
	return l
}

// ReadBody returns the body of r, decompressed when Content-Encoding says gzip,
// br, zstd or deflate. No more is ever held than the limits allow.
func ReadBody(r *http.Request, limits Limits) ([]byte, error) {
	raw, err := ReadRaw(r, limits)
	if err != nil {
		return nil, err
	}
	return Inflate(r.Header.Get("Content-Encoding"), raw, limits)
}

// ReadRaw returns the body of r as it came over the wire.
func ReadRaw(r *http.Request, limits Limits) ([]byte, error) {
	limits = limits.withDefaults()
	if r.Body == nil {
		return nil, nil
	}
	tooLarge := func() error { return Errorf(CodeTooLarge, "the body is larger than %d bytes", limits.Raw) }
	if r.ContentLength > limits.Raw {
		return nil, tooLarge()
	}
	raw, err := readAll(r.Body, r.ContentLength, limits.Raw+1)
	if err != nil {
		return nil, &Error{Code: CodeValidation, Message: "the body could not be read to its end", Err: err}
	}
	if int64(len(raw)) > limits.Raw {
		return nil, tooLarge()
	}
	return raw, nil
}

// readAll reads to the end, or up to limit bytes. A length that was announced is
// believed so far that room for it is made at once, if it is not much.
func readAll(r io.Reader, announced, limit int64) ([]byte, error) {
	if announced < 0 {
		announced = 511
	}
	room := make([]byte, 0, 1+min(announced, 64<<10)) // one more, to see the end
	for int64(len(room)) < limit {
		n, err := r.Read(room[len(room):min(int64(cap(room)), limit)])
		room = room[:len(room)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return room, err
		}
		if len(room) == cap(room) {
			room = append(room, 0)[:len(room)]
		}
	}
	return room, nil
}

// Inflate undoes a Content-Encoding. The ratio is asked only beyond the size that
// would be taken uncompressed: a short repetitive body compresses beyond any
// bound and harms nobody.
func Inflate(encoding string, raw []byte, limits Limits) ([]byte, error) {
	limits = limits.withDefaults()
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	if len(raw) == 0 || encoding == "" || encoding == "identity" {
		return raw, nil
	}
	inflated, err := inflater(encoding, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	defer inflated.Close()
	bound := min(limits.Inflated, max(limits.Raw, limits.Ratio*int64(len(raw))))
	body, err := io.ReadAll(io.LimitReader(inflated, bound+1))
	if int64(len(body)) > bound {
		return nil, Errorf(CodeTooLarge, "the body grows beyond %d bytes, or %d times its size, when it is decompressed", limits.Inflated, limits.Ratio)
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, Errorf(CodeTooLarge, "the body asks for more memory than its limit to decompress")
	}
	if err != nil {
		return nil, &Error{Code: CodeValidation, Message: "the body is not what its Content-Encoding says", Err: err}
	}
	return body, nil
}

// inflater returns a reader of the decompressed bytes. The error is an [Error]: of
// the raw reader, or that it does not begin as the encoding says.
func inflater(encoding string, raw io.Reader) (io.ReadCloser, error) {
	inflated, err := decoder(encoding, raw)
	if _, ours := errors.AsType[*Error](err); err != nil && !ours {
		err = &Error{Code: CodeValidation, Message: "the body is not what its Content-Encoding says", Err: err}
	}
	return inflated, err
}

func decoder(encoding string, raw io.Reader) (io.ReadCloser, error) {
	switch encoding {
	case "", "identity":
		return io.NopCloser(raw), nil
	case "gzip", "x-gzip":
		return gzip.NewReader(raw)
	case "deflate": // the zlib format by the book, bare deflate by many senders
		b := bufio.NewReader(raw)
		if head, _ := b.Peek(2); len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
			inflated, err := zlib.NewReader(b)
			return &whole{inflated, b}, err
		}
		return &whole{flate.NewReader(b), b}, nil
	case "br":
		return io.NopCloser(brotli.NewReader(raw)), nil
	case "zstd":
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, Errorf(CodeUnsupportedMedia, "the Content-Encoding is not one of gzip, br, zstd, deflate, identity")
}

// whole is a body after whose end nothing comes. The other encodings see to it
// themselves.
type whole struct {
	io.ReadCloser
	rest *bufio.Reader
}

// Read implements [io.Reader].
func (w *whole) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := w.rest.ReadByte(); more != io.EOF {
			err = cmp.Or(more, errTrailing)
		}
	}
	return n, err
}

var errTrailing = errors.New("something follows the end of the compressed body")
