package demo

import (
	"bytes"
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

// call sends in as JSON, reads the answer into out (unless nil) and returns the
// status. Statuses of 400 and above come as errors that carry the problem.
func (c client) call(ctx context.Context, method, path string, in, out any) (status int, err error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		return res.StatusCode, problem(res)
	}
	if out == nil {
		return res.StatusCode, nil
	}
	return res.StatusCode, json.NewDecoder(res.Body).Decode(out)
}

// problem turns an answer that is a refusal into an error with its words.
func problem(res *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("%s %s answered %s", res.Request.Method, res.Request.URL.Path, res.Status)
	}
	return fmt.Errorf("%s %s answered %s: %s", res.Request.Method, res.Request.URL.Path, res.Status, bytes.TrimSpace(raw))
}
