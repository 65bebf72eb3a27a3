package loader

import (
	"os"
	"testing"

	natsembed "github.com/sluice-flags/sluice/internal/bus/embed"
)

// brokerVariable names a NATS server that stands in for embedded ones. It is for
// nothing else, and for one test process at a time: each test takes all of its
// streams away.
const brokerVariable = "SLUICE_TEST_NATS"

// broker returns the address of a NATS server that has no streams.
func broker(t *testing.T) (url string) {
	t.Helper()
	if url = os.Getenv(brokerVariable); url == "" {
		server, err := natsembed.Start(natsembed.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		return server.URL()
	}
	js := connect(t, url).JetStream()
	names := js.StreamNames(t.Context())
	var all []string
	for name := range names.Name() {
		all = append(all, name)
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return url
}
