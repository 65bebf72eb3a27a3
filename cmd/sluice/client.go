package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/config"
)

// The exit codes of verbs that talk to a platform; docs/operations.md lists them.
const (
	exitError    = 1
	exitUsage    = config.ExitUsage
	exitNotFound = 3
	exitConflict = 4
	exitCheck    = 6
)

// remote says which platform a verb talks to, and as whom; embed it.
type remote struct {
	URL     string `help:"Where the platform answers." env:"SLUICE_URL" default:"http://127.0.0.1:8080" placeholder:"URL"`
	Key     string `help:"Console key." env:"SLUICE_KEY" placeholder:"KEY"`
	Project string `help:"Project; the one that the key belongs to if left out." env:"SLUICE_PROJECT" placeholder:"ID"`
}

// usageError is a mistake in how a verb was called.
type usageError string

// Error implements error.
func (e usageError) Error() string { return string(e) }

// refusal is an answer of 400 or above.
type refusal struct {
	status int
	text   string
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

// exitCode is what a program ends with after err.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[checkError](err); ok {
		return exitCheck
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		switch r.status {
		case http.StatusBadRequest, http.StatusUnprocessableEntity:
			return exitUsage
		case http.StatusNotFound:
			return exitNotFound
		case http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired:
			return exitConflict
		}
	}
	return exitError
}

// complete fills in the project from the key, which names it, and refuses what
// would ask for something else than the thing called name: an empty step of a
// path, or one of dots only, is taken out on the way.
func (r *remote) complete(name string) error {
	if strings.Trim(name, ".") == "" {
		return usageError(fmt.Sprintf("%q is no name: want that of an experiment or a flag", name))
	}
	if r.Key == "" {
		return usageError("a console key is needed: --key, or SLUICE_KEY; `sluice run --demo` prints one")
	}
	if strings.ContainsFunc(r.Key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return usageError("--key, or SLUICE_KEY, has a space, a line break or another character that no key has")
	}
	if _, err := url.Parse(r.URL); err != nil || !strings.Contains(r.URL, "://") {
		return usageError(fmt.Sprintf("--url %q is no URL: want such as http://127.0.0.1:8080", r.URL))
	}
	r.URL = strings.TrimRight(r.URL, "/")
	if r.Project == "" {
		parts := strings.SplitN(r.Key, "-", 3)
		if len(parts) != 3 || parts[1] == "_org" {
			return usageError("--project is needed: the key is not one of a project")
		}
		r.Project = parts[1]
	}
	return nil
}

// path is that of something in the project.
func (r *remote) path(parts ...string) string {
	path := "/api/v1/projects/" + url.PathEscape(r.Project)
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// An answered is an answer that has been read.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// call sends a request with a key and reads the answer. A body that is no []byte
// is sent as JSON. Answers of 400 and above are a *refusal.
func (r *remote) call(ctx context.Context, key, method, path string, body any, headers ...string) (answered, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return answered{}, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, reader)
	if err != nil {
		return answered{}, err
	}
	if strings.HasPrefix(key, "console-") {
		req.Header.Set("Authorization", "Bearer "+key)
	} else {
		req.Header.Set("STATSIG-API-KEY", key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answered{}, fmt.Errorf("the platform cannot be reached (%w): is it running, and is --url right?", err)
	}
	defer res.Body.Close()
	got := answered{status: res.StatusCode, header: res.Header}
	if got.body, err = io.ReadAll(res.Body); err != nil {
		return got, fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	}
	if res.StatusCode >= 400 {
		return got, refused(method, path, got)
	}
	return got, nil
}

// patiently is call for requests that may be repeated: it does so while the
// platform says that it has too much to do, or cannot be reached for a moment.
func (r *remote) patiently(ctx context.Context, key, method, path string, body any, headers ...string) (answered, error) {
	const attempts = 8
	for attempt := 1; ; attempt++ {
		got, err := r.call(ctx, key, method, path, body, headers...)
		refused, isRefusal := errors.AsType[*refusal](err)
		if err == nil || attempt == attempts || ctx.Err() != nil ||
			isRefusal && refused.status != http.StatusServiceUnavailable && refused.status != http.StatusTooManyRequests {
			return got, err
		}
		seconds, _ := strconv.Atoi(got.header.Get("Retry-After")) // 0 where it does not say
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-time.After(max(time.Duration(seconds)*time.Second, time.Duration(attempt*attempt)*50*time.Millisecond)):
		}
	}
}

// refused reads the problem document of an answer.
func refused(method, path string, got answered) *refusal {
	var problem struct {
		Detail string `json:"detail"`
		Title  string `json:"title"`
		Errors []struct {
			Pointer string `json:"pointer"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(got.body, &problem) // an answer without one: the status has to do
	text := cmp.Or(problem.Detail, problem.Title, http.StatusText(got.status), "no answer")
	for _, e := range problem.Errors {
		if e.Message != problem.Detail {
			text += "; " + e.Pointer + ": " + e.Message
		} else if e.Pointer != "" {
			text += " (" + e.Pointer + ")"
		}
	}
	path, _, _ = strings.Cut(path, "?")
	return &refusal{got.status, fmt.Sprintf("%s [%s %s answered %d]", text, method, path, got.status)}
}
