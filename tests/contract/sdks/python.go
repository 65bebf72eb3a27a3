package sdks

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
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
		cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "HTTPS_PROXY="+lab.Vendor().URL(), "REQUESTS_CA_BUNDLE="+lab.Vendor().Authority())
		return process(t, lab, cmd)
	}
}

// Updates returns how often the SDK said that it has new rules.
func (i *Instance) Updates() (n int) {
	i.d.t.Helper()
	i.d.do(&n, command{Do: "updated", Name: i.name})
	return n
}
