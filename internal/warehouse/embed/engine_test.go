package embed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
)

// parentMark makes this test binary a process that starts an engine in the
// folder that the variable names, prints what it started, and waits.
const parentMark = "EMBED_TEST_PARENT"

// notHere is a file in an engine's folder that lets no engine be confined to it:
// the library that it would be allowed to read is not there.
const notHere = "not-here"

func TestMain(m *testing.M) {
	if _, err := os.Stat(notHere); err == nil {
		os.Setenv(embed.LibraryVariable, filepath.Join("nowhere", "libchdb.so"))
	}
	embed.RunChildIfAsked()
	if dir := os.Getenv(parentMark); dir != "" {
		os.Unsetenv(parentMark)
		beParent(dir)
	}
	os.Exit(m.Run())
}

type started struct {
	PID    int
	Config warehouse.Config
}

func beParent(dir string) {
	e, err := embed.Start(context.Background(), embed.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(started{e.PID(), e.Config()})
	io.Copy(io.Discard, os.Stdin) // until the test is over, however it ends
	os.Exit(0)
}

func needEngine(t *testing.T) {
	t.Helper()
	_, err := embed.FindLibrary()
	switch {
	case err == nil:
	case os.Getenv("REQUIRE_ENGINE") == "1":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

func start(t *testing.T, dir string) *embed.Engine {
	t.Helper()
	needEngine(t)
	e, err := embed.Start(t.Context(), embed.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Stop(context.Background()) })
	return e
}

func open(t *testing.T, c warehouse.Config) *warehouse.DB {
	t.Helper()
	db, err := warehouse.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec1(t *testing.T, db *warehouse.DB, statement string) {
	t.Helper()
	if err := db.Conn().Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestEngineKeepsItsDataOverAnOrderlyStop(t *testing.T) {
	dir := t.TempDir()
	e := start(t, dir)
	db := open(t, e.Config())
	exec1(t, db, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	exec1(t, db, "INSERT INTO t VALUES (7)")
	db.Close()
	e.Stop(t.Context())
	if err, open := <-e.Done(); err != nil || !open {
		t.Errorf("Done() after Stop yields %v, %t; want nil, true", err, open)
	}

	e = start(t, dir)
	var got uint64
	if err := open(t, e.Config()).Conn().QueryRow(t.Context(), "SELECT sum(a) FROM t").Scan(&got); err != nil || got != 7 {
		t.Errorf("after a restart sum(a) = %d, %v; want 7", got, err)
	}
}

func TestEngineDiesWithAParentThatIsKilled(t *testing.T) {
	needEngine(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentMark+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var s started
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&s); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the parent did not start: %v", err)
	}
	db := open(t, s.Config)
	exec1(t, db, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1")
	exec1(t, db, "INSERT INTO t VALUES (1), (2)")
	db.Close()

	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	// The folder is locked for as long as the engine lives, so that starting
	// another one there shows both that the first is gone and that its data is not.
	e := start(t, dir)
	if err := syscall.Kill(s.PID, 0); !errors.Is(err, syscall.ESRCH) && !zombie(s.PID) {
		t.Errorf("kill(%d, 0) = %v; the engine outlived its parent", s.PID, err)
	}
	var got uint64
	if err := open(t, e.Config()).Conn().QueryRow(t.Context(), "SELECT count() FROM t").Scan(&got); err != nil || got != 2 {
		t.Errorf("after the kill count() = %d, %v; want 2", got, err)
	}
}

// zombie reports whether a process has ended and nobody has asked how: without
// an init process, nobody does.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(after, "Z")
}

func TestDeathOfTheEngineIsReported(t *testing.T) {
	needEngine(t)
	e, err := embed.Start(t.Context(), embed.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(e.PID(), syscall.SIGKILL)
	if err := <-e.Done(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Done() yields %v; want that it was killed", err)
	}
}

func TestEngineIgnoresTheSignalsOfATerminal(t *testing.T) {
	e := start(t, t.TempDir())
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(e.PID(), s); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, e.Config()).Ping(t.Context()); err != nil {
		t.Errorf("Ping() after the signals = %v", err)
	}
	select {
	case err := <-e.Done():
		t.Errorf("the engine ended: %v", err)
	default:
	}
	group, err := syscall.Getpgid(e.PID())
	if err != nil || group == syscall.Getpgrp() {
		t.Errorf("Getpgid(engine) = %d, %v; want another group than ours", group, err)
	}
}

func TestTwoEnginesNeverShareAFolder(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	if _, err := embed.Start(t.Context(), embed.Options{Dir: dir}); !errors.Is(err, embed.ErrInUse) {
		t.Errorf("a second Start in the folder = %v; want ErrInUse", err)
	}
}

func TestFilesOfTheEngineAreForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	e := start(t, dir)
	for _, name := range []string{"config.xml", "users.xml", "engine.out", "lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v; want 0600", name, info.Mode())
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), e.Config().Password) {
			t.Errorf("%s holds the password", name)
		}
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", e.PID(), name))
		if err == nil && strings.Contains(string(text), e.Config().Password) {
			t.Errorf("the process's %s holds the password", name)
		}
	}
}

func TestDefaultUserIsWorthless(t *testing.T) {
	e := start(t, t.TempDir())
	db := open(t, e.Config())
	exec1(t, db, "CREATE TABLE secrets (a UInt64) ENGINE = MergeTree ORDER BY a")

	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{e.Config().Addr}, Auth: clickhouse.Auth{Username: "default"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range []string{
		"SELECT count() FROM sluice.secrets",
		"SELECT * FROM file('/etc/passwd', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"SELECT * FROM system.users",
		"CREATE TABLE sluice.mine (a UInt64) ENGINE = MergeTree ORDER BY a",
		"CREATE TEMPORARY TABLE mine (a UInt64)",
		"INSERT INTO FUNCTION file('planted', 'LineAsString') SELECT 'x'",
		"SYSTEM SHUTDOWN",
		"KILL QUERY WHERE 1",
	} {
		if err := conn.Exec(t.Context(), statement); err == nil {
			t.Errorf("%s as user default was not refused", statement)
		} else if exception, ok := errors.AsType[*clickhouse.Exception](err); !ok {
			t.Errorf("%s as user default = %v; want a refusal by the engine", statement, err)
		} else if exception.Code != 497 { // ACCESS_DENIED
			t.Errorf("%s as user default = %v; want access denied", statement, exception)
		}
	}
	for _, statement := range []string{
		"SELECT * FROM file('/etc/passwd', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
	} {
		if err := db.Conn().Exec(t.Context(), statement); err == nil {
			t.Errorf("%s as the application's user was not refused", statement)
		}
	}
}

func TestEngineAnswersOverHTTP(t *testing.T) {
	e := start(t, t.TempDir())
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+e.HTTPAddr()+"/?query=SELECT+timezone()", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(e.Config().User, e.Config().Password)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || strings.TrimSpace(string(body)) != "Etc/UTC" {
		t.Errorf("GET SELECT timezone() = %q, %v; want Etc/UTC", body, err)
	}
}

func TestStopEndsAnEngineThatIsBusy(t *testing.T) {
	e := start(t, t.TempDir())
	db := open(t, e.Config())
	ended := make(chan error, 1)
	go func() {
		ended <- db.Conn().Exec(context.Background(), "SELECT sum(sipHash64(number)) FROM numbers(1000000000000) FORMAT Null")
	}()
	watcher := open(t, e.Config())
	for running := uint64(0); running == 0; {
		if err := watcher.Conn().QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sipHash64%'").Scan(&running); err != nil {
			t.Fatal(err)
		}
	}
	e.Stop(t.Context())
	if err := <-ended; err == nil {
		t.Error("the long query ended without an error")
	}
	if err := <-e.Done(); err != nil {
		t.Errorf("Done() after Stop yields %v; want nil", err)
	}
}

func TestBrokenFolderIsOneClearError(t *testing.T) {
	needEngine(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embed.Start(t.Context(), embed.Options{Dir: filepath.Join(file, "data")})
	if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Start below a file = %q; want one line that names %s", err, file)
	}
}

func TestRelativePathsMeanThoseOfTheParent(t *testing.T) {
	needEngine(t)
	library, err := embed.FindLibrary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Symlink(library, "engine.so"); err != nil {
		t.Fatal(err)
	}
	e, err := embed.Start(t.Context(), embed.Options{Dir: "data", Library: "engine.so"})
	if err != nil {
		t.Fatal(err)
	}
	e.Stop(t.Context())
	if _, err := os.Stat(filepath.Join(dir, "data", "data")); err != nil {
		t.Errorf("the engine's data is elsewhere: %v", err)
	}
}

// Not every system has its libraries where most have them.
func TestAnEngineThatCannotBeConfinedStartsWithAWarning(t *testing.T) {
	needEngine(t)
	if !embed.Confines() {
		t.Skip("this system confines no engine")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, notHere), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	e, err := embed.Start(t.Context(), embed.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatalf("Start() where no engine can be confined = %v; want one that is not", err)
	}
	e.Stop(t.Context())
	for _, want := range []string{"level=WARN", "is not confined to its folder", "giving up the files", "nowhere/libchdb.so"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log is %s; want %q in it", &log, want)
		}
	}
}

func TestMissingLibrarySaysWhatToDo(t *testing.T) {
	t.Setenv(embed.LibraryVariable, filepath.Join(t.TempDir(), "libchdb.so"))
	_, err := embed.FindLibrary()
	if !errors.Is(err, embed.ErrNoLibrary) || !strings.Contains(err.Error(), embed.LibraryVariable) {
		t.Errorf("FindLibrary with a wrong %s = %v; want ErrNoLibrary naming it", embed.LibraryVariable, err)
	}
}

func TestLibraryThatIsNoneIsOneClearError(t *testing.T) {
	library := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(library, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embed.Start(t.Context(), embed.Options{Dir: t.TempDir(), Library: library})
	if err == nil || !strings.Contains(err.Error(), "loading the engine") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Start with a file that is no library = %v; want one line, that it cannot be loaded", err)
	}
}
