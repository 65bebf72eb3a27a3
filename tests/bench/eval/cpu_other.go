//go:build !unix

package main

import "time"

var started = time.Now()

// cpuTime returns the wall clock where the system tells no better.
func cpuTime() time.Duration { return time.Since(started) }
