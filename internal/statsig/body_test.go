package statsig_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
)

const plain = `{"events":[{"eventName":"café","time":1790000000000}],"statsigMetadata":{"sdkType":"go-sdk"}}`

func squeeze(t testing.TB, text string, writer func(io.Writer) io.WriteCloser) string {
	t.Helper()
	var out bytes.Buffer
	w := writer(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func gzipped(w io.Writer) io.WriteCloser  { return gzip.NewWriter(w) }
func zlibbed(w io.Writer) io.WriteCloser  { return zlib.NewWriter(w) }
func brotlied(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, brotli.BestSpeed) }
func deflated(w io.Writer) io.WriteCloser {
	z, _ := flate.NewWriter(w, flate.BestCompression)
	return z
}
func zstded(w io.Writer) io.WriteCloser {
	z, _ := zstd.NewWriter(w)
	return z
}

func reversed(text string) string {
	b := []byte(base64.StdEncoding.EncodeToString([]byte(text)))
	slices.Reverse(b)
	return string(b)
}

// latin1 is text as a browser's btoa sees it: one byte per character.
func latin1(text string) string {
	var b []byte
	for _, r := range text {
		b = append(b, byte(r))
	}
	return string(b)
}

func post(target, body string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestEveryEncodingOfAnSDKGivesTheSameText(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"plain JSON called text":                post("/v1/rgstr?ec=1", plain, "Content-Type", "text/plain;charset=UTF-8"),
		"identity by name":                      post("/v1/rgstr", plain, "Content-Encoding", "identity"),
		"gzip by header, from Go and Node":      post("/v1/log_event", squeeze(t, plain, gzipped), "Content-Encoding", "gzip"),
		"zstd by header, from core":             post("/v1/log_event", squeeze(t, plain, zstded), "Content-Encoding", "zstd"),
		"brotli by header":                      post("/v1/log_event", squeeze(t, plain, brotlied), "Content-Encoding", "br"),
		"deflate by the book":                   post("/v1/log_event", squeeze(t, plain, zlibbed), "Content-Encoding", "deflate"),
		"deflate without its frame":             post("/v1/log_event", squeeze(t, plain, deflated), "Content-Encoding", "Deflate"),
		"gzip by query, from browsers":          post("/v1/rgstr?k=client-x&gz=1", squeeze(t, plain, gzipped)),
		"gzip that nobody declared":             post("/v1/rgstr", squeeze(t, plain, gzipped)),
		"zstd that nobody declared":             post("/v1/rgstr", squeeze(t, plain, zstded)),
		"backwards by query, bytes are Latin-1": post("/v1/rgstr?se=1", reversed(latin1(plain))),
		"backwards by query, bytes are UTF-8":   post("/v1/rgstr?se=1", reversed(plain)),
		"backwards by header":                   post("/v1/rgstr", reversed(plain), "statsig-encoded", "1"),
		"plain by header":                       post("/v1/rgstr", plain, "statsig-encoded", "0"),
		"a browser that could not encode":       post("/v1/rgstr?se=1", plain),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := statsig.ReadBody(r, web.Limits{})
			if err != nil || string(got) != plain {
				t.Errorf("ReadBody() = %q, %v; want %q", got, err, plain)
			}
		})
	}
}

func TestABodyThatIsNotWhatItSaysIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		r    *http.Request
		want web.Code
	}{
		"gzip that is not":        {post("/", plain, "Content-Encoding", "gzip"), web.CodeValidation},
		"gzip cut short":          {post("/", squeeze(t, plain, gzipped)[:40], "Content-Encoding", "gzip"), web.CodeValidation},
		"zstd that is not":        {post("/", plain, "Content-Encoding", "zstd"), web.CodeValidation},
		"something after gzip":    {post("/", squeeze(t, plain, gzipped)+"x", "Content-Encoding", "gzip"), web.CodeValidation},
		"something after zstd":    {post("/", squeeze(t, plain, zstded)+"x", "Content-Encoding", "zstd"), web.CodeValidation},
		"something after br":      {post("/", squeeze(t, plain, brotlied)+"x", "Content-Encoding", "br"), web.CodeValidation},
		"something after deflate": {post("/", squeeze(t, plain, zlibbed)+"x", "Content-Encoding", "deflate"), web.CodeValidation},
		"deflate twice":           {post("/", squeeze(t, plain, zlibbed)+squeeze(t, plain, zlibbed), "Content-Encoding", "deflate"), web.CodeValidation},
		"bare deflate twice":      {post("/", squeeze(t, plain, deflated)+squeeze(t, plain, deflated), "Content-Encoding", "deflate"), web.CodeValidation},
		"an unknown encoding":     {post("/", plain, "Content-Encoding", "compress"), web.CodeUnsupportedMedia},
		"not base64":              {post("/?se=1", "~~~"), web.CodeValidation},
		"two MiB":                 {post("/", strings.Repeat(" ", 2<<20)), web.CodeTooLarge},
		"six MiB after inflation": {post("/", squeeze(t, strings.Repeat("0123456789abcdef", 6<<16), gzipped), "Content-Encoding", "gzip"), web.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := statsig.ReadBody(test.r, web.Limits{})
			if web.StatusOf(err) != test.want.Status() {
				t.Errorf("ReadBody() = %v, want an error with status %d", err, test.want.Status())
			}
		})
	}
}

func TestABombCostsLittleMemory(t *testing.T) {
	zeros := make([]byte, 1<<20)
	for name, writer := range map[string]func(io.Writer) io.WriteCloser{"gzip": gzipped, "zstd": zstded, "br": brotlied} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := writer(&out)
			for range 64 { // 64 MiB of zeros
				if _, err := w.Write(zeros); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := statsig.ReadBody(post("/", out.String(), "Content-Encoding", name), web.Limits{})
			runtime.ReadMemStats(&after)
			if web.StatusOf(err) != http.StatusRequestEntityTooLarge {
				t.Errorf("ReadBody(%d bytes that become 64 MiB) = %v, want status 413", out.Len(), err)
			}
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 48<<20 {
				t.Errorf("ReadBody(bomb) allocated %d MiB in all", spent>>20)
			}
		})
	}
}

func FuzzReadBody(f *testing.F) {
	for _, body := range []string{plain, squeeze(f, plain, gzipped), squeeze(f, plain, zstded), squeeze(f, plain, brotlied), reversed(plain)} {
		for _, encoding := range []string{"", "gzip", "zstd", "br", "deflate", "1"} {
			f.Add(body, encoding)
		}
	}
	limits := web.Limits{Raw: 4 << 10, Inflated: 64 << 10}
	f.Fuzz(func(t *testing.T, body, encoding string) {
		r := post("/", body)
		r.Header["Content-Encoding"] = []string{encoding}
		r.Header["Statsig-Encoded"] = []string{encoding}
		got, err := statsig.ReadBody(r, limits)
		if status := web.StatusOf(err); err != nil && (status < 400 || status > 499) {
			t.Errorf("ReadBody(%q, %q) = %v, want a 4xx", body, encoding, err)
		}
		if len(got) > 2*64<<10 {
			t.Errorf("ReadBody(%q, %q) gave %d bytes, past its limit", body, encoding, len(got))
		}
	})
}
