package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
)

// runFloorHTTP is the edge's own server around a handler that does nothing, but
// for one path.
func runFloorHTTP() error {
	s := &web.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == answerPath {
			answerAlike(w, r)
		}
	})}
	if err := s.Listen(); err != nil {
		return err
	}
	fmt.Println(s.Address(), "-")
	ctx, stop := context.WithCancel(context.Background())
	go func() { // ends when the parent closes it, or is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return s.Run(ctx)
}

// What an answer of check_gate has: as many headers, of about the same length, and
// about as much text.
var (
	alikeHeaders = http.Header{
		"Access-Control-Allow-Origin": {"*"},
		"Cache-Control":               {"no-store"},
		"Content-Security-Policy":     {"default-src 'none'; frame-ancestors 'none'"},
		"Content-Type":                {"application/json"},
		"Referrer-Policy":             {"no-referrer"},
		"Sluice-Sequence":             {"1003"},
		"X-Content-Type-Options":      {"nosniff"},
		"X-Request-Id":                {"ABCDEFGHIJKLMNOPQRSTUVWXYZ-10000"},
	}
	alikeText = []byte(filler(90))
)

// answerAlike reads a request to its end and sends the same answer always.
func answerAlike(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // whoever left is told nothing
	h := w.Header()
	for name, values := range alikeHeaders {
		h[name] = values
	}
	_, _ = w.Write(alikeText)
}

// runFloorTCP answers whatever comes on a connection with the same few bytes: a
// read, a write, and a goroutine that waits for more. There is no HTTP in it, and
// there are no deadlines.
func runFloorTCP() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr(), "-")
	go func() { // ends with the process
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echo(c)
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin) // ends when the parent closes it, or is gone
	return err
}

// tcpAnswer is as long as the answer of the empty handler.
var tcpAnswer = []byte(strings.Join([]string{"HTTP/1.1 200 OK", "Date: Mon, 02 Jan 2006 15:04:05 GMT", "Content-Length: 0", "", ""}, "\r\n"))

func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
		if _, err := c.Write(tcpAnswer); err != nil {
			return
		}
	}
}
