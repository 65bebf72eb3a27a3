package demo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A client calls the management API with one key.
type client struct {
	base string
	key  string
}

// A refusal is an answer of 400 or above.
type refusal struct {
	request string // method and path
	status  string // as in the status line
	code    string // of the problem document, "" without one
	detail  string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s answered %s: %s", r.request, r.status, cmp.Or(r.detail, r.code, "no explanation"))
}

// An answer is the part of a response that callers look at.
type answer struct {
	status int
	etag   string
}

// call sends in as JSON, under the precondition ifMatch unless that is empty,
// and reads the answer into out unless that is nil. Statuses of 400 and above
// come as a *refusal.
func (c client) call(ctx context.Context, method, path, ifMatch string, in, out any) (answer, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return answer{}, err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	got := answer{status: res.StatusCode, etag: res.Header.Get("ETag")}
	switch {
	case res.StatusCode >= 400:
		return got, refused(res)
	case out == nil:
		return got, nil
	}
	return got, json.NewDecoder(res.Body).Decode(out)
}

// refused reads the problem document of an answer.
func refused(res *http.Response) *refusal {
	r := &refusal{request: res.Request.Method + " " + res.Request.URL.Path, status: res.Status}
	var problem struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Errors []struct {
			Pointer string `json:"pointer"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&problem); err != nil {
		return r // an answer without a problem document: the status has to do
	}
	r.code, r.detail = problem.Code, problem.Detail
	for _, e := range problem.Errors {
		r.detail += fmt.Sprintf("; %s: %s", e.Pointer, e.Message)
	}
	return r
}
