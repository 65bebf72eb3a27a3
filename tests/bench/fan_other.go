//go:build !linux

package main

import (
	"context"
	"errors"
	"time"
)

// A fan needs epoll.
type fan struct{ frame int }

var errNoEpoll = errors.New("many clients on one thread need Linux")

func openFan(context.Context, string, int, func(int) []byte) (*fan, error) { return nil, errNoEpoll }

func (*fan) push(func() error) (delivery, error) { return delivery{}, errNoEpoll }
func (*fan) settle(time.Duration) error          { return errNoEpoll }
func (*fan) close()                              {}
