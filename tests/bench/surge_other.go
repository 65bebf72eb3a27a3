//go:build !linux

package main

import (
	"context"
	"time"
)

// A surge needs epoll.
type surge struct{ bytes int }

func openSurge(string, int, func(int) []byte, string) (*surge, error) { return nil, errNoEpoll }

func (*surge) flood(context.Context, time.Duration) (float64, error) { return 0, errNoEpoll }
func (*surge) trickle(context.Context, time.Duration, time.Duration) (int, error) {
	return 0, errNoEpoll
}
func (*surge) once() error { return errNoEpoll }
func (*surge) close()      {}
