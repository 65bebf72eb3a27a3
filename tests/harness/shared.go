package harness

import (
	"os"
	"sync"
	"testing"
)

// shared is the platform that the tests of a package have in common.
var shared struct {
	sync.Mutex
	platform *Platform
	failed   bool
	lasting  lasting
}

// Shared returns the one platform of all tests of a package that do not mind
// each other: each makes projects of its own there. The first that asks starts
// it, and it ends in [Main].
func Shared(t testing.TB) *Platform {
	t.Helper()
	NeedEngine(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.failed {
		t.Fatal("the shared platform could not be started: see the test that tried")
	}
	if shared.platform == nil {
		shared.failed = true // until it stands
		shared.lasting.TB = t
		shared.platform = Start(&shared.lasting, Options{})
		shared.failed = false
	}
	p := *shared.platform
	p.T = t
	return &p
}

// lasting is a test whose cleanups wait for the end of its package.
type lasting struct {
	testing.TB
	cleanups []func()
}

func (l *lasting) Cleanup(f func()) { l.cleanups = append(l.cleanups, f) }

func (l *lasting) TempDir() string {
	dir, err := os.MkdirTemp("", "sluice-shared-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary folder; the system clears it too
	return dir
}

func (l *lasting) end() {
	for i := len(l.cleanups) - 1; i >= 0; i-- {
		l.cleanups[i]()
	}
}
