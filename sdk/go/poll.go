package sluice

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
)

const specsPath = "/v1/download_config_specs"

// poll asks for the definitions as they are now, unless they are what the client
// holds. Refused means that the key is not good.
func (f *feed) poll(ctx context.Context) (refused bool, err error) {
	at := *f.client.options.edge.JoinPath(specsPath)
	at.RawQuery = "sinceTime=" + strconv.FormatInt(f.held.time(), 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return false, fmt.Errorf("polling: %w", err)
	}
	req.Header.Set("Statsig-Api-Key", f.key)
	if f.etag != "" {
		req.Header.Set("If-None-Match", f.etag)
	}
	res, err := f.web.Do(req)
	if err != nil {
		return false, fmt.Errorf("polling: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxStateText))
	switch {
	case err != nil:
		return false, fmt.Errorf("polling: %w", err)
	case res.StatusCode == http.StatusNotModified:
		return false, nil
	case res.StatusCode != http.StatusOK:
		v, after := refusal(res)
		err = fmt.Errorf("polling: status %d", res.StatusCode)
		if v == giveUp {
			return true, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if later := time.Now().Add(after); later.After(f.nextPoll) {
			f.nextPoll = later
		}
		return false, err
	}
	specs, err := eval.ParseSpecs(body)
	if err != nil {
		return false, fmt.Errorf("polling: %w", err)
	}
	if !specs.HasUpdates || f.held.rules != nil && specs.Time < f.held.time() {
		return false, nil // an edge that lags has nothing to teach
	}
	f.etag = res.Header.Get("ETag")
	// A download does not say where in the log it stands.
	d, _ := f.join(ctx, f.client.options.compile(specs, live.Position{}, eval.SourceNetwork), 0)
	f.adopt(d, nil)
	if k := f.client.keeper; k != nil {
		k.replace(body, live.Position{}, specs.Time, true)
	}
	return false, nil
}
