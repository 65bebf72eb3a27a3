package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	natsembed "github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/freeport"
)

// brokerVariable makes this binary a NATS server in a process of its own. It
// holds the server's address, the bytes that it may reserve, and its folder.
const brokerVariable = "SLUICE_TEST_NATS"

// beBroker serves until it is killed, or until its standard input ends, so that
// it never outlives the test.
func beBroker(settings string) {
	var o natsembed.Options
	_, err := fmt.Sscan(settings, &o.Listen, &o.MaxStore, &o.Dir)
	if err == nil {
		_, err = natsembed.Start(o)
	}
	if err != nil {
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
	reserves     int64 // bytes; 0 for what the disk has
	cmd          *exec.Cmd
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	return startBrokerOn(t, t.TempDir(), 0)
}

// startBrokerOn starts a server in a folder, whose streams may reserve more than
// the disk has.
func startBrokerOn(t *testing.T, dir string, reserves int64) *broker {
	t.Helper()
	b := &broker{t: t, address: freeport.For(t), dir: dir, reserves: reserves}
	t.Cleanup(b.kill)
	b.start()
	return b
}

func (b *broker) url() string { return "nats://" + b.address }

// start starts the server where it was, and waits until it serves.
func (b *broker) start() {
	b.t.Helper()
	b.cmd = exec.Command(os.Args[0])
	b.cmd.Env = append(os.Environ(), brokerVariable+"="+fmt.Sprint(b.address, " ", b.reserves, " ", b.dir))
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
