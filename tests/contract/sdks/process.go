package sdks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

// serial numbers commands and instances.
var serial atomic.Int64

// inNode returns a starter for one of the programs in tests/contract/js.
func inNode(program string) starter {
	return func(t testing.TB, lab *Lab) caller {
		t.Helper()
		root := harness.NeedNode(t)
		return process(t, lab, exec.CommandContext(context.Background(), "node", filepath.Join(root, "tests", "contract", "js", program)))
	}
}

// process starts a program that runs an SDK and reads commands. The test ends it
// by its own means, so the command is bound to no context.
func process(t testing.TB, lab *Lab, cmd *exec.Cmd) caller {
	t.Helper()
	answers, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{theirs} // file descriptor 3
	var printed tail
	cmd.Stdout, cmd.Stderr = &printed, &printed
	commands, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()

	p := &program{commands: commands, waiting: map[int64]chan response{}, printed: &printed}
	read := make(chan struct{})
	go func() { // ends with the process
		defer close(read)
		p.read(answers)
	}()
	lab.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-read
		_ = cmd.Wait() // killed
		answers.Close()
	})
	return p.call
}

// program is a process that runs an SDK.
type program struct {
	printed *tail

	mu       sync.Mutex
	commands io.Writer
	waiting  map[int64]chan response
	ended    bool
}

// response is the answer to one command.
type response struct {
	ID    int64           `json:"id"`
	OK    json.RawMessage `json:"ok"`
	Error string          `json:"error"`
}

func (r response) result() (json.RawMessage, error) {
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return r.OK, nil
}

func (p *program) call(ctx context.Context, c command) (json.RawMessage, error) {
	c.ID = serial.Add(1)
	line, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	answer := make(chan response, 1)
	p.mu.Lock()
	if p.ended {
		err = io.ErrUnexpectedEOF
	} else {
		p.waiting[c.ID] = answer
		_, err = p.commands.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("the process has ended: %w; it printed:\n%s", err, p.printed)
	}
	select {
	case r, ok := <-answer:
		if !ok {
			return nil, fmt.Errorf("the process has ended; it printed:\n%s", p.printed)
		}
		return r.result()
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer: %w; the process printed:\n%s", ctx.Err(), p.printed)
	}
}

// read hands answers to those who wait for them, until the process ends.
func (p *program) read(answers io.Reader) {
	lines := bufio.NewReader(answers)
	for {
		line, err := lines.ReadBytes('\n')
		var r response
		if err != nil || json.Unmarshal(line, &r) != nil {
			break
		}
		p.mu.Lock()
		if answer, ok := p.waiting[r.ID]; ok {
			delete(p.waiting, r.ID)
			answer <- r
		}
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for _, answer := range p.waiting {
		close(answer)
	}
	p.waiting = nil
}

// tail keeps the last of what a process prints, for the message of a failure.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = t.text[extra:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
