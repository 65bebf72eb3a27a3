// Package harness starts the real platform for tests, as a user would: the
// sluice binary in a process of its own, on a data folder of its own, which can
// be stopped, killed and started again.
package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/freeport"
)

// startLimit bounds the wait for a platform to answer. It is generous because
// several start at once on small machines; nothing is measured by it.
const startLimit = 90 * time.Second

// Options say how a platform is started. The zero value is a platform without
// demo, on an empty folder.
type Options struct {
	Command string   // run if empty; else control, edge or ingest, one service alone
	Data    string   // folder; a temporary one if empty
	Args    []string // further arguments of the command
	Env     []string // further variables, NAME=value
}

// A Platform is one `sluice run`, or one service in a process of its own.
type Platform struct {
	T    testing.TB
	Data string // folder
	HTTP string // base URL of every endpoint

	opts   Options
	listen string
	ops    string
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	out    *lockedBuffer
}

// Addresses is <data>/run.json: where the parts of a running platform answer.
type Addresses struct {
	HTTP       string `json:"http"`
	NATS       string `json:"nats"`
	ClickHouse struct {
		Addr     string `json:"addr"`
		HTTP     string `json:"http"`
		User     string `json:"user"`
		Password string `json:"password"`
		Database string `json:"database"`
	} `json:"clickhouse"`
}

// Start runs a platform and waits until it is ready. It ends with the test.
func Start(t testing.TB, opts Options) *Platform {
	t.Helper()
	if opts.Command == "" {
		opts.Command = "run"
		NeedEngine(t)
	}
	if opts.Data == "" {
		opts.Data = t.TempDir()
	}
	p := &Platform{T: t, Data: opts.Data, opts: opts, listen: freeport.For(t), ops: freeport.For(t)}
	p.HTTP = "http://" + p.listen
	t.Cleanup(p.Kill)
	p.Restart()
	return p
}

// Restart starts the process again on the same folder and address, and waits
// until it is ready.
func (p *Platform) Restart() {
	p.T.Helper()
	p.Launch()
	p.waitReady()
}

// Launch is Restart without the wait.
func (p *Platform) Launch() {
	p.T.Helper()
	_ = os.Remove(p.addressesFile()) // of an earlier start, if there was one
	args := []string{p.opts.Command, "--listen", p.listen, "--ops", p.ops}
	if p.opts.Command != "ingest" { // which keeps nothing outside NATS
		args = append(args, "--data", p.Data)
	}
	args = append(args, p.opts.Args...)
	p.out = &lockedBuffer{}
	p.cmd = exec.Command(Binary(p.T), args...)
	p.cmd.Env = append(os.Environ(), p.opts.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		p.T.Fatalf("starting %v: %v", p.cmd.Args, err)
	}
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { // ends with the process
		_ = cmd.Wait() // how it ended is for the test to judge
		close(done)
	}(p.cmd, p.done)
}

func (p *Platform) waitReady() {
	p.T.Helper()
	deadline := time.Now().Add(startLimit)
	for {
		res, err := http.Get("http://" + p.ops + "/readyz")
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK && p.knowsAddresses() {
				return
			}
		}
		select {
		case <-p.done:
			p.T.Fatalf("the platform ended before it was ready:\n%s", p.Output())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.T.Fatalf("the platform was not ready after %v:\n%s", startLimit, p.Output())
		}
	}
}

// Ready asks for the platform's readiness.
func (p *Platform) Ready() (status int, body string, err error) {
	res, err := http.Get("http://" + p.ops + "/readyz")
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// Kill ends the process as `kill -9` does, and waits for its end.
func (p *Platform) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
	http.DefaultClient.CloseIdleConnections() // those to the dead fail whoever is next
}

// Stop asks the process to end, as Ctrl-C does, and waits until it has.
func (p *Platform) Stop() {
	p.T.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(startLimit):
		p.T.Fatalf("the platform did not stop:\n%s", p.Output())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.T.Errorf("stopping ended with exit code %d:\n%s", code, p.Output())
	}
}

// PID returns the process id of the platform.
func (p *Platform) PID() int { return p.cmd.Process.Pid }

// Output returns what the process has printed.
func (p *Platform) Output() string { return p.out.String() }

func (p *Platform) addressesFile() string { return filepath.Join(p.Data, "run.json") }

// knowsAddresses reports whether the process has said where its parts answer,
// which only `sluice run` does.
func (p *Platform) knowsAddresses() bool {
	_, err := os.Stat(p.addressesFile())
	return err == nil || p.opts.Command != "run"
}

// Addresses reads where the parts answer.
func (p *Platform) Addresses() Addresses {
	p.T.Helper()
	var a Addresses
	raw, err := os.ReadFile(p.addressesFile())
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		p.T.Fatalf("reading run.json: %v", err)
	}
	return a
}

// AdminKey returns the key that may do everything.
func (p *Platform) AdminKey() string {
	p.T.Helper()
	raw, err := os.ReadFile(filepath.Join(p.Data, "admin.key"))
	if err != nil {
		p.T.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// An Answer is a response that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Decode reads the answer's JSON into v and fails the test when it is not that.
func (a Answer) Decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, v); err != nil {
		t.Fatalf("answer %d %s: %v", a.Status, a.Body, err)
	}
}

// Do sends a request with JSON body in (nil for none) and the given key, and
// headers as name, value pairs. A failed connection is returned, not fatal:
// tests that kill the platform expect it.
func (p *Platform) Do(key, method, path string, in any, headers ...string) (Answer, error) {
	var body io.Reader
	switch in := in.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(in)
	case string:
		body = strings.NewReader(in)
	default:
		raw, err := json.Marshal(in)
		if err != nil {
			return Answer{}, err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.HTTP+path, body)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	switch {
	case strings.HasPrefix(key, "console-"):
		req.Header.Set("Authorization", "Bearer "+key)
	case key != "":
		req.Header.Set("statsig-api-key", key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return Answer{Status: res.StatusCode, Header: res.Header, Body: raw}, err
}

// Must is Do for requests that have to succeed with the given status; the
// answer is read into out unless that is nil.
func (p *Platform) Must(want int, out any, key, method, path string, in any, headers ...string) Answer {
	p.T.Helper()
	got, err := p.Do(key, method, path, in, headers...)
	if err != nil {
		p.T.Fatalf("%s %s: %v", method, path, err)
	}
	if got.Status != want {
		p.T.Fatalf("%s %s answered %d %s; want %d", method, path, got.Status, got.Body, want)
	}
	if out != nil {
		got.Decode(p.T, out)
	}
	return got
}

// build compiles the binary once per test process, into built's folder.
var (
	build = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "sluice-bin-")
		if err != nil {
			return "", err
		}
		built.Store(&dir)
		path := filepath.Join(dir, "sluice")
		cmd := exec.Command("go", "build", "-o", path, "github.com/sluice-flags/sluice/cmd/sluice")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building sluice: %w\n%s", err, out)
		}
		return path, nil
	})
	built atomic.Pointer[string]
)

// Binary returns the path of a freshly built sluice.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Main runs the tests of a package that uses the harness, ends what they shared,
// and removes what was built for them.
func Main(m *testing.M) {
	code := m.Run()
	shared.lasting.end()
	if dir := built.Load(); dir != nil {
		_ = os.RemoveAll(*dir) // a temporary folder; the system clears it too
	}
	os.Exit(code)
}

// lockedBuffer collects what a process prints while others read it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Metric returns the sum of what the platform exposes under a name, whatever the
// labels.
func (p *Platform) Metric(name string) (sum float64) {
	p.T.Helper()
	res, err := http.Get("http://" + p.ops + "/metrics")
	if err != nil {
		p.T.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok && (rest[0] == ' ' || rest[0] == '{') {
			value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err != nil {
				p.T.Fatalf("metric %s: %v", name, err)
			}
			sum += value
		}
	}
	return sum
}
