package sdks_test

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/sluice-flags/sluice/internal/freeport"
)

// A door stands between an SDK and the platform. While it is shut nobody
// listens at its address; while it is open it passes on what comes, after an
// optional guard had its say.
type door struct {
	t       testing.TB
	address string
	handler http.Handler
	server  *http.Server
}

// A guard sees each request before the platform does. It serves the request
// itself, or has it served by next.
type guard func(w http.ResponseWriter, r *http.Request, next http.Handler)

// newDoor returns a shut door in front of the platform at base. It shuts with
// the test.
func newDoor(t testing.TB, base string, g guard) *door {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, address: freeport.For(t)}
	d.handler = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	if g != nil {
		platform := d.handler
		d.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g(w, r, platform) })
	}
	t.Cleanup(d.shut)
	return d
}

// base is where SDKs find the platform behind the door.
func (d *door) base() string { return "http://" + d.address }

func (d *door) open() *door {
	d.t.Helper()
	listener, err := net.Listen("tcp", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.server = &http.Server{Handler: d.handler}
	go func() { _ = d.server.Serve(listener) }() // ends when the door shuts
	return d
}

func (d *door) shut() {
	if d.server != nil {
		_ = d.server.Close() // nothing is left to answer
	}
}
