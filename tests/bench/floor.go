package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The floor of a push is what remains when everything that makes it ours is
// taken away: no definitions, no keys, no users, no rules, no hash chain, one
// message and one frame. Three processes on the loopback, as ours would be:
//
//	this one ── POST ─▶ log: append with compare-and-set, synced ─▶ answer
//	    ▲                └─▶ ordered consumer ─▶ edge: one frame for all ──┐
//	    └──────────────────────── WebSocket ◀──────────────────────────────┘
//
// The log's stream is also the floor of flips.

// Roles of the floor's processes.
const (
	floorLog  = "log"
	floorEdge = "edge"
	floorHTTP = "http"
	floorTCP  = "tcp"
)

// floorRole is the variable that makes this binary one of the floor's processes.
const floorRole = "SLUICE_BENCH_FLOOR"

const (
	floorStream  = "FLOOR"
	floorSubject = "floor.flip"

	// eventSize is the length of an event of ours about a gate with one rule.
	eventSize = 1200
)

// filler is text of some length.
func filler(n int) string { return strings.Repeat("x", max(n, 0)) }

// floorIfAsked makes this process one of the floor's, and then does not return.
func floorIfAsked() {
	var err error
	switch role := os.Getenv(floorRole); role {
	case "":
		return
	case floorLog:
		err = runFloorLog(os.Args[1])
	case floorEdge:
		err = runFloorEdge(os.Args[1], os.Args[2])
	case floorHTTP:
		err = runFloorHTTP()
	case floorTCP:
		err = runFloorTCP()
	default:
		err = fmt.Errorf("unknown role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A floor is one of the floor's processes.
type floor struct {
	*process
	http, nats string // where it answers
}

// startFloor starts this binary in a role and waits for its addresses.
func startFloor(dir, role string, args ...string) (*floor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if role == floorLog {
		store, err := os.MkdirTemp(dir, "floor-")
		if err != nil {
			return nil, err
		}
		args = append([]string{store}, args...)
	}
	cmd := exec.Command(self, args...) //nolint:gosec // this binary
	cmd.Env = append(os.Environ(), floorRole+"="+role)
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f := new(floor)
	if f.process, err = startProcess(cmd); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(said, &f.http, &f.nats); err != nil {
		f.stop()
		return nil, fmt.Errorf("the floor's %s did not start: %w", role, err)
	}
	return f, nil
}

// serveFloor answers on a free port, says where, and ends with its parent.
func serveFloor(h http.Handler, nats string) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr(), nats)
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go s.Serve(l)                          //nolint:errcheck // ends with the process
	_, err = io.Copy(io.Discard, os.Stdin) // ends when the parent closes it, or is gone
	return err
}

// runFloorLog is a broker that syncs always, and a POST in front of one stream.
func runFloorLog(store string) error {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: store, SyncAlways: true, SyncInterval: 2 * time.Minute,
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the broker takes no connections")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.CreateStream(context.Background(), jetstream.StreamConfig{
		Name: floorStream, Subjects: []string{"floor.>"}, Storage: jetstream.FileStorage, AllowDirect: true,
	})
	if err != nil {
		return err
	}

	var mu sync.Mutex
	var last uint64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /flip", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(body) {
			http.Error(w, "the body is not JSON", http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		ack, err := js.Publish(r.Context(), floorSubject, body, jetstream.WithExpectLastSequence(last))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		last = ack.Sequence
		fmt.Fprint(w, last)
	})
	return serveFloor(mux, s.ClientURL())
}

// runFloorEdge follows the stream and sends every client one frame for each
// message, half of them by each of two writers.
func runFloorEdge(url, size string) error {
	length, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.OrderedConsumer(context.Background(), floorStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}

	var mu sync.Mutex
	var clients []*websocket.Conn
	tell := func(m *websocket.PreparedMessage, some []*websocket.Conn) {
		for _, c := range some {
			_ = c.WritePreparedMessage(m) // a lost client is seen by its fan
		}
	}
	following, err := consumer.Consume(func(jetstream.Msg) {
		text := string(changeFrame) + `,"filler":"`
		text += filler(length-len(text)-2) + `"}`
		m, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(text))
		if err != nil {
			panic(fmt.Sprintf("preparing a text message: %v", err)) // cannot fail for a data frame
		}
		mu.Lock()
		defer mu.Unlock()
		half := len(clients) / 2
		var other sync.WaitGroup
		other.Go(func() { tell(m, clients[:half]) })
		tell(m, clients[half:])
		other.Wait()
	})
	if err != nil {
		return err
	}
	defer following.Stop()

	upgrader := websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: new(sync.Pool),
		CheckOrigin: func(*http.Request) bool { return true },
	}
	return serveFloor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		defer c.Close()
		if _, _, err := c.ReadMessage(); err != nil { // the hello
			return
		}
		mu.Lock()
		clients = append(clients, c)
		err = c.WriteMessage(websocket.TextMessage, append(bytes.Clone(fullFrame), '}'))
		mu.Unlock()
		for err == nil {
			_, _, err = c.NextReader()
		}
	}), "-")
}

// post sends a body whose answer has to be a success.
func post(ctx context.Context, c *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	_, _, err = send(c, req)
	return err
}
