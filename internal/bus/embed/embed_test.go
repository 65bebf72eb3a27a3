package embed_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus/embed"
)

func TestAServerWithoutAnAddressServesItsProcessOnly(t *testing.T) {
	s := start(t, embed.Options{Dir: t.TempDir()})
	if got := s.URL(); got != "" {
		t.Errorf("URL() = %q; want none", got)
	}
	publishAndCount(t, connect(t, s), 1)
}

func TestWhatWasStoredIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for want := range uint64(3) {
		s, err := embed.Start(embed.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		nc := connect(t, s)
		publishAndCount(t, nc, want+1)
		nc.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAServerWithAnAddressTakesOthersIn(t *testing.T) {
	s := start(t, embed.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatalf("connecting to %s: %v", s.URL(), err)
	}
	defer nc.Close()
	publishAndCount(t, nc, 1)
}

func TestStartSaysInOneLineWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	locked := t.TempDir()
	start(t, embed.Options{Dir: locked})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name string
		opts embed.Options
		want []string
	}{
		{"no folder", embed.Options{}, []string{"data folder"}},
		{"folder of another process", embed.Options{Dir: locked}, []string{locked, "in use by another process"}},
		{"a file in the folder's place", embed.Options{Dir: file}, []string{file, "not a directory"}},
		{"a folder that cannot be made", embed.Options{Dir: "/proc/sluice"}, []string{"/proc/sluice", "cannot make the data folder"}},
		{"port in use", embed.Options{Dir: t.TempDir(), Listen: taken.Addr().String()}, []string{taken.Addr().String(), "in use"}},
		{"not an address", embed.Options{Dir: t.TempDir(), Listen: "nowhere"}, []string{"nowhere", "host:port"}},
		{"address of another machine", embed.Options{Dir: t.TempDir(), Listen: "192.0.2.1:4222"}, []string{"192.0.2.1:4222"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			test.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s, err := embed.Start(test.opts)
			if log.Len() > 0 {
				t.Errorf("Start also logged %q; its error says it", log.String())
			}
			if err == nil {
				s.Close()
				t.Fatalf("Start(%+v) succeeded; want an error", test.opts)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("Start(%+v) = %q; want one line", test.opts, err)
			}
			if _, got := errors.AsType[*embed.AddressError](err); got != (test.opts.Listen != "") {
				t.Errorf("Start(%+v) = %q, an AddressError: %t; want one of the address alone", test.opts, err, got)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Start(%+v) = %q; want %q in it", test.opts, err, part)
				}
			}
		})
	}
}

func TestAFailedStartGivesTheFolderBack(t *testing.T) {
	dir := t.TempDir()
	if _, err := embed.Start(embed.Options{Dir: dir, Listen: "nowhere"}); err == nil {
		t.Fatal("Start succeeded; want an error")
	}
	start(t, embed.Options{Dir: dir})
}

func start(t *testing.T, o embed.Options) *embed.Server {
	t.Helper()
	s, err := embed.Start(o)
	if err != nil {
		t.Fatalf("Start(%+v): %v", o, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s
}

func connect(t *testing.T, s *embed.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatalf("connecting in process: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func publishAndCount(t *testing.T, nc *nats.Conn, want uint64) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatalf("making a stream: %v", err)
	}
	ack, err := js.Publish(t.Context(), "s", []byte("x"))
	if err != nil || ack.Sequence != want {
		t.Errorf("Publish() = %+v, %v; want sequence %d", ack, err, want)
	}
}
