package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A fan is many WebSocket clients on one thread, so that reading what they are
// sent takes as little of the machine as it can: one epoll, frames counted and
// not decoded. It is not safe for concurrent use.
type fan struct {
	epoll int
	peers map[int]*peer
	buf   []byte

	ready    int // peers that have their first state
	counting bool
	began    time.Time
	arrivals []time.Duration // of change frames since the last push began
	frame    int             // length of the last change frame
}

// A peer is one client.
type peer struct {
	fd int
	parser
}

// pace is the time between two new connections: the hub admits 500 a second.
const pace = time.Second / 400

// openFan connects n clients and returns when each has its first state. Hello is
// what client i says first.
func openFan(ctx context.Context, address string, n int, hello func(i int) []byte) (*fan, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := &fan{epoll: epoll, peers: make(map[int]*peer, n), buf: make([]byte, 64<<10)}
	err = f.connect(ctx, address, n, hello)
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *fan) connect(ctx context.Context, address string, n int, hello func(i int) []byte) error {
	to, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return err
	}
	begin := time.Now()
	for i := range n {
		if err := f.dial(to, hello(i)); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		for next := begin.Add(time.Duration(i+1) * pace); time.Now().Before(next); {
			if err := f.poll(time.Until(next)); err != nil {
				return err
			}
		}
	}
	for deadline := time.Now().Add(patience); f.ready < n; {
		if err := f.poll(50 * time.Millisecond); err != nil {
			return err
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("%d of %d clients have a state", f.ready, n)
		}
	}
	return nil
}

// dial opens one connection and says hello on it. Up to there it blocks.
func (f *fan) dial(to *net.TCPAddr, hello []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p := &peer{fd: fd}
	f.peers[fd] = p
	at := &unix.SockaddrInet4{Port: to.Port}
	copy(at.Addr[:], to.IP.To4())
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}),
		// Thousands of sockets must not wait out their end; a reset is fine.
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.Connect(fd, at))
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte(handshake)); err != nil {
		return err
	}
	var answer []byte
	for !bytes.Contains(answer, []byte("\r\n\r\n")) {
		n, err := unix.Read(fd, f.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return fmt.Errorf("upgrading: %q, %w", answer, errors.Join(err, errEnded))
		}
		answer = append(answer, f.buf[:n]...)
	}
	head, rest, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) {
		return fmt.Errorf("upgrading: %.200q", answer)
	}
	f.take(p, rest)
	if _, err := unix.Write(fd, clientFrame(opText, hello)); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	return unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}) //nolint:gosec // a descriptor is small
}

var errEnded = errors.New("the connection ended")

// poll reads what has come, or waits for it. A wait that is over already is none:
// to the kernel, less than nothing would mean for ever.
func (f *fan) poll(wait time.Duration) error {
	var ready [256]unix.EpollEvent
	n, err := unix.EpollWait(f.epoll, ready[:], int(max(wait, 0).Milliseconds()))
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	for _, event := range ready[:n] {
		p := f.peers[int(event.Fd)]
		n, err := unix.Read(p.fd, f.buf)
		switch {
		case err == unix.EAGAIN, err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("reading as a client: %w", err)
		case n == 0:
			return errEnded
		default:
			f.take(p, f.buf[:n])
		}
	}
	return nil
}

// take goes through what a peer was sent.
func (f *fan) take(p *peer, b []byte) {
	p.feed(b, func(got frame) {
		switch {
		case got.op == opPing:
			_, _ = unix.Write(p.fd, clientFrame(opPong, nil)) // a lost peer is noticed when read from
		case got.op != opText:
		case bytes.HasPrefix(got.head, fullFrame):
			f.ready++
		case bytes.HasPrefix(got.head, changeFrame):
			f.frame = got.length
			if f.counting {
				f.arrivals = append(f.arrivals, time.Since(f.began))
			}
		}
	})
}

// pushLimit bounds the wait for one push.
const pushLimit = 10 * time.Second

// push calls cause, and waits until every client has been told of it.
func (f *fan) push(cause func() error) (delivery, error) {
	runtime.LockOSThread() // one thread reads, another one causes
	defer runtime.UnlockOSThread()
	var answered time.Duration
	caused := make(chan error, 1)
	f.arrivals, f.counting = f.arrivals[:0], true
	defer func() { f.counting = false }()
	f.began = time.Now()
	go func() { // ends with the request
		err := cause()
		answered = time.Since(f.began)
		caused <- err
	}()
	done := false
	for len(f.arrivals) < len(f.peers) || !done {
		if err := f.poll(5 * time.Millisecond); err != nil {
			return delivery{}, err
		}
		select {
		case err := <-caused:
			if done = true; err != nil {
				return delivery{}, err
			}
		default:
		}
		if time.Since(f.began) > pushLimit {
			return delivery{}, fmt.Errorf("%d of %d clients were told within %v", len(f.arrivals), len(f.peers), pushLimit)
		}
	}
	last := f.arrivals[len(f.peers)-1]
	return delivery{answered: answered, median: median(f.arrivals), last: last}, nil
}

// settle reads for a while, so that pings are answered and what a push left
// behind is not counted with the next.
func (f *fan) settle(d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := f.poll(time.Until(end)); err != nil {
			return err
		}
	}
	return nil
}

func (f *fan) close() {
	for fd := range f.peers {
		_ = unix.Close(fd)
	}
	_ = unix.Close(f.epoll)
}
