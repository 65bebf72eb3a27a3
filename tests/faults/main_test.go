// Package faults breaks the real platform on purpose and counts afterwards.
//
// Clients keep ledgers of what they were promised, in files that the system does
// not know of. After each fault the log and the warehouse must equal the
// ledgers: as sets, not in number alone, with nothing missing, nothing double
// and nothing that nobody sent.
//
// SLUICE_ROUNDS sets how often the tests that kill do so, for a soak, and
// SLUICE_SEED repeats a run's random choices, as far as the machine lets them be
// repeated.
package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) {
	embed.RunChildIfAsked()
	if settings := os.Getenv(brokerVariable); settings != "" {
		beBroker(settings)
	}
	harness.Main(m)
}

// rounds is how often a test kills: usual, or what SLUICE_ROUNDS says.
func rounds(t *testing.T, usual int) int {
	t.Helper()
	return int(variable(t, "SLUICE_ROUNDS", uint64(usual)))
}

// dice returns the source of a test's random choices.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := variable(t, "SLUICE_SEED", uint64(time.Now().UnixNano()))
	t.Logf("SLUICE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func variable(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

// A ledger is a file of what clients were promised, one line each, on the disk
// before the next request is made.
type ledger[T any] struct {
	t    *testing.T
	mu   sync.Mutex
	file *os.File
}

func newLedger[T any](t *testing.T, name string) *ledger[T] {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(t.ArtifactDir(), name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // every line was written with its own call
	return &ledger[T]{t: t, file: file}
}

// add writes a line. It is safe for concurrent use.
func (l *ledger[T]) add(entry T) {
	line, err := json.Marshal(entry)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if err != nil {
		l.t.Errorf("writing the ledger: %v", err)
	}
}

// all reads every line.
func (l *ledger[T]) all() []T {
	l.t.Helper()
	file, err := os.Open(l.file.Name())
	if err != nil {
		l.t.Fatal(err)
	}
	defer file.Close()
	var out []T
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var entry T
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			l.t.Fatalf("the ledger's line %q: %v", lines.Text(), err)
		}
		out = append(out, entry)
	}
	return out
}

// sameSet compares what is there with what should be, each once.
func sameSet(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return
	}
	counts := map[string]int{} // there, less in the ledger
	for _, g := range got {
		counts[g]++
	}
	for _, w := range want {
		counts[w]--
	}
	var missing, extra []string
	for name, n := range counts {
		switch {
		case n < 0:
			missing = append(missing, name)
		case n > 0:
			extra = append(extra, name)
		}
	}
	t.Errorf("%s: %d are there, the ledger has %d; %d are missing, such as %q; %d are too many, such as %q",
		what, len(got), len(want), len(missing), some(missing), len(extra), some(extra))
}

// some returns a few of many, for a message.
func some(names []string) []string {
	slices.Sort(names)
	return names[:min(len(names), 5)]
}

// checkGone waits for a process to be gone, which follows its parent's end
// without anybody's doing.
func checkGone(t *testing.T, pid int) {
	t.Helper()
	harness.Within(t, 10*time.Second, func() error {
		if harness.Alive(pid) {
			return errors.New("the engine, process " + strconv.Itoa(pid) + ", outlives its parent")
		}
		return nil
	})
}
