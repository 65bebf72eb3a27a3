package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A surge is many HTTP clients on one thread, each with a connection that it
// keeps and at most one request on its way: one epoll, requests that were
// written beforehand, and of the answers the status and the length. What
// remains of the machine is the server's. It is not safe for concurrent use.
type surge struct {
	epoll   int
	callers []*caller
	byFD    map[int]*caller
	buf     []byte

	answered int
	bytes    int // of the last answer, head and body
}

// A caller is one client.
type caller struct {
	fd      int
	request []byte
	want    string // how the answer begins
	head    []byte // of an answer whose head has not come whole
	left    int    // bytes of a body that are still to come
	waiting bool
}

// openSurge connects n clients. Request is what client i sends each time, want how
// the answer has to begin.
func openSurge(address string, n int, request func(i int) []byte, want string) (*surge, error) {
	to, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	s := &surge{epoll: epoll, byFD: make(map[int]*caller, n), buf: make([]byte, 256<<10)}
	for i := range n {
		if err := s.dial(to, &caller{request: request(i), want: want}); err != nil {
			s.close()
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
	}
	return s, nil
}

func (s *surge) dial(to *net.TCPAddr, c *caller) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.fd = fd
	s.callers = append(s.callers, c)
	s.byFD[fd] = c
	at := &unix.SockaddrInet4{Port: to.Port}
	copy(at.Addr[:], to.IP.To4())
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.Connect(fd, at),
		unix.SetNonblock(fd, true),
		unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})) //nolint:gosec // a descriptor is small
}

// send begins a client's next request.
func (s *surge) send(c *caller) error {
	if c.waiting {
		return errors.New("a client was not answered before its next request")
	}
	c.waiting = true
	n, err := unix.Write(c.fd, c.request)
	if err == nil && n < len(c.request) {
		err = errors.New("a request did not fit into the socket's buffer")
	}
	return err
}

// poll reads what has come, or waits for it, and calls then for each client that
// has its answer.
func (s *surge) poll(wait time.Duration, then func(*caller) error) error {
	var ready [256]unix.EpollEvent
	n, err := unix.EpollWait(s.epoll, ready[:], int(max(wait, 0).Milliseconds()))
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	for _, event := range ready[:n] {
		c := s.byFD[int(event.Fd)]
		n, err := unix.Read(c.fd, s.buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("reading as a client: %w", err)
		case n == 0:
			return errEnded
		}
		done, err := s.take(c, s.buf[:n])
		if err != nil {
			return err
		}
		if done {
			s.answered++
			if err := then(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// take goes through what a client was sent, and reports whether that was the
// end of its answer.
func (s *surge) take(c *caller, b []byte) (done bool, err error) {
	if !c.waiting {
		return false, fmt.Errorf("a client was sent %.100q without asking", b)
	}
	if c.left > 0 {
		c.left -= len(b)
	} else {
		if len(c.head) > 0 {
			b = append(c.head, b...)
		}
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			c.head = bytes.Clone(b)
			return false, nil
		}
		c.head = c.head[:0]
		if !bytes.HasPrefix(b, []byte(c.want)) {
			return false, fmt.Errorf("an answer is %.300q, want %s", b, c.want)
		}
		length, err := contentLength(b[:end])
		if err != nil {
			return false, err
		}
		s.bytes = end + 4 + length
		c.left = s.bytes - len(b)
	}
	if c.left < 0 {
		return false, errors.New("an answer is longer than it says")
	}
	c.waiting = c.left > 0
	return !c.waiting, nil
}

func contentLength(head []byte) (int, error) {
	const name = "\r\nContent-Length: "
	_, rest, ok := bytes.Cut(head, []byte(name))
	if !ok {
		if bytes.HasPrefix(head, []byte("HTTP/1.1 304")) {
			return 0, nil
		}
		return 0, fmt.Errorf("an answer does not say its length: %.300q", head)
	}
	text, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return strconv.Atoi(string(text))
}

// flood lets every client ask again as soon as it is answered, for a while, and
// returns how many answers came in a second.
func (s *surge) flood(ctx context.Context, d time.Duration) (perSecond float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.answered = 0
	began := time.Now()
	for _, c := range s.callers {
		if err := s.send(c); err != nil {
			return 0, err
		}
	}
	for time.Since(began) < d {
		if err := s.poll(50*time.Millisecond, s.send); err != nil {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	perSecond = float64(s.answered) / time.Since(began).Seconds()
	return perSecond, s.rest()
}

// once lets every client ask once, soon: a server lets go of who connects and says
// nothing.
func (s *surge) once() error {
	for _, c := range s.callers {
		if err := s.send(c); err != nil {
			return err
		}
		if err := s.poll(0, func(*caller) error { return nil }); err != nil {
			return err
		}
	}
	return s.rest()
}

// rest waits for the answers that are still on their way.
func (s *surge) rest() error {
	none := func(*caller) error { return nil }
	for deadline := time.Now().Add(patience); ; {
		waiting := 0
		for _, c := range s.callers {
			if c.waiting {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d requests were not answered", waiting)
		}
		if err := s.poll(10*time.Millisecond, none); err != nil {
			return err
		}
	}
}

// trickle lets each client ask once in every period, spread evenly, for a while,
// and returns how many answers came.
func (s *surge) trickle(ctx context.Context, period, d time.Duration) (answers int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.answered = 0
	none := func(*caller) error { return nil }
	step := period / time.Duration(len(s.callers))
	began := time.Now()
	for sent := 0; time.Since(began) < d; {
		for ; time.Duration(sent)*step <= time.Since(began); sent++ {
			if err := s.send(s.callers[sent%len(s.callers)]); err != nil {
				return 0, err
			}
		}
		if err := s.poll(time.Millisecond, none); err != nil {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	return s.answered, s.rest()
}

func (s *surge) close() {
	for fd := range s.byFD {
		_ = unix.Close(fd)
	}
	_ = unix.Close(s.epoll)
}
