package main

import (
	"io"
	"net/http"
	"strings"
)

// An engine is one evaluator, loaded with one flag of each kind. Users are made
// before anything is timed, in whatever form the engine prefers.
type engine struct {
	name string
	// check evaluates the flag of a kind for user i through the engine's public
	// call, and reports whether it is on; of W5, whether it has a value.
	check func(k kind) func(i int) bool
	rule  func(i int) string // which rule decided W3; nil if the engine does not say
	color func(i int) string // what W5 gave

	exposed func(i int)                                // W1 with the exposure handed over, as the engine does it
	all     func() func(i int) int                     // evaluates a project of 1,000 to JSON, and returns its size
	loader  func(n int) func() (keep any, done func()) // makes n flags current from JSON
}

// engines lists ours, the peers, and the bound.
func engines() []engine {
	return []engine{sluice(), statsigGo(), launchDarkly(), launchDarklySDK(), growthBook(), bound()}
}

// nowhere answers every request itself: no engine reaches a network.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusAccepted, Status: "202 Accepted", Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")),
	}, nil
}

// must is for workloads that we wrote ourselves.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
