package sdks

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

// inPython returns a starter for one of the programs in tests/contract/python.
// Where the SDK looks for its maker, it finds the lab's vendor.
func inPython(program string) starter {
	return func(t testing.TB, lab *Lab) caller {
		t.Helper()
		root, python := harness.NeedPython(t)
		cmd := exec.CommandContext(context.Background(), python, filepath.Join(root, "tests", "contract", "python", program))
		cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "HTTPS_PROXY="+lab.Vendor().URL())
		return process(t, lab, cmd)
	}
}

// Updates returns how often the SDK said that it has new rules.
func (i *Instance) Updates() (n int) {
	i.d.t.Helper()
	i.d.do(&n, command{Do: "updated", Name: i.name})
	return n
}

// A Vendor stands where SDKs look for the hosts of their maker, which they do for
// some purposes whatever their settings. It lets nobody through, and remembers
// what they looked for.
type Vendor struct {
	url string

	mu    sync.Mutex
	asked map[string]bool
}

// Vendor returns the vendor of all SDKs in the lab that are driven in Python.
func (l *Lab) Vendor() *Vendor {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vendor != nil {
		return l.vendor
	}
	v := &Vendor{asked: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.asked[r.Host] = true
		w.WriteHeader(http.StatusBadGateway)
	}))
	l.t.Cleanup(server.Close)
	v.url, l.vendor = server.URL, v
	return v
}

// URL is the address of the vendor, to be set as HTTPS_PROXY.
func (v *Vendor) URL() string { return v.url }

// Asked reports whether somebody looked for a host, given with its port.
func (v *Vendor) Asked(host string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked[host]
}
