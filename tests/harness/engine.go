package harness

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

var engineStarted = regexp.MustCompile(`"clickhouse engine started" pid=(\d+)`)

// Engines returns the process ids of the engines that this process has started,
// oldest first. All but the last are dead, or should be.
func (p *Platform) Engines() []int {
	p.T.Helper()
	var pids []int
	for _, found := range engineStarted.FindAllStringSubmatch(p.Output(), -1) {
		pid, err := strconv.Atoi(found[1])
		if err != nil {
			p.T.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// Alive reports whether a process runs. One that has ended and waits for
// somebody to ask how does not.
func Alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || !strings.HasPrefix(state, "Z")
}

// Warehouse connects to the platform's ClickHouse as any client would, where
// run.json says it is now.
func (p *Platform) Warehouse() driver.Conn {
	p.T.Helper()
	at := p.Addresses().ClickHouse
	return OpenWarehouse(p.T, warehouse.Config{Addr: at.Addr, User: at.User, Password: at.Password, Database: at.Database})
}

// OpenWarehouse connects to a ClickHouse; the connection ends with the test.
func OpenWarehouse(t testing.TB, at warehouse.Config) driver.Conn {
	t.Helper()
	db, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{at.Addr},
		Auth: clickhouse.Auth{Database: at.Database, Username: at.User, Password: at.Password},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // nothing was written through it
	return db
}

// Within repeats check until it is content, and fails the test when that takes
// longer than limit.
func Within(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	if err := Await(limit, check); err != nil {
		t.Fatal(err)
	}
}

// Await repeats check until it is content, for at most limit.
func Await(limit time.Duration, check func() error) error {
	for deadline := time.Now().Add(limit); ; {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
