package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	natsembed "github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/tests/harness"
)

// brokerVariable makes this binary a NATS server in a process of its own. It
// holds the server's address and folder.
const brokerVariable = "SLUICE_TEST_NATS"

// beBroker serves until it is killed, or until its standard input ends, so that
// it never outlives the test.
func beBroker(settings string) {
	address, dir, _ := strings.Cut(settings, " ")
	if _, err := natsembed.Start(natsembed.Options{Dir: dir, Listen: address}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // however it ends
	os.Exit(0)
}

// A broker is a NATS server that can be killed and started again.
type broker struct {
	t            *testing.T
	address, dir string
	cmd          *exec.Cmd
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, address: harness.FreeAddress(t), dir: t.TempDir()}
	t.Cleanup(b.kill)
	b.start()
	return b
}

func (b *broker) url() string { return "nats://" + b.address }

// start starts the server where it was, and waits until it serves.
func (b *broker) start() {
	b.t.Helper()
	b.cmd = exec.Command(os.Args[0])
	b.cmd.Env = append(os.Environ(), brokerVariable+"="+b.address+" "+b.dir)
	b.cmd.Stderr = os.Stderr
	if _, err := b.cmd.StdinPipe(); err != nil {
		b.t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.t.Fatalf("the broker said %q: %v", line, err)
	}
}

// kill ends the server as kill -9 does.
func (b *broker) kill() {
	if b.cmd == nil || b.cmd.Process == nil {
		return
	}
	_ = b.cmd.Process.Kill() // it may have ended by itself
	_ = b.cmd.Wait()         // killed, as it should be
	b.cmd = nil
}
