package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/durable"
	"github.com/sluice-flags/sluice/pkg/events"
)

// recorder keeps a log's last head on record outside the log: in the stream
// HEADS and, if there is a folder for it, in a file.
type recorder struct {
	log     *Log
	file    *durable.Slots // nil: none
	damaged bool           // the file was found so by known, to be mended by resume

	mu       sync.Mutex
	newest   events.Head // of what was appended
	writing  sync.Mutex
	recorded events.Head // guarded by writing
}

func newRecorder(l *Log) *recorder {
	r := &recorder{log: l}
	if l.opts.HeadDir != "" {
		r.file = &durable.Slots{
			Path:    filepath.Join(l.opts.HeadDir, l.project+".head"),
			Magic:   durable.Magic([]byte("SLUICEHD")),
			Version: 1,
		}
	}
	return r
}

// record returns when h, or a later head, is on record. Of callers that wait
// for the same disk the first writes for all.
func (r *recorder) record(ctx context.Context, h events.Head) error {
	r.mu.Lock()
	if h.Seq > r.newest.Seq {
		r.newest = h
	}
	r.mu.Unlock()

	r.writing.Lock()
	defer r.writing.Unlock()
	if r.recorded.Seq >= h.Seq {
		return nil
	}
	r.mu.Lock()
	newest := r.newest
	r.mu.Unlock()

	var wg sync.WaitGroup
	var fileErr error
	wg.Go(func() { fileErr = r.writeFile(newest) })
	streamErr := r.writeStream(ctx, newest)
	wg.Wait()
	if err := errors.Join(fileErr, streamErr); err != nil {
		return err
	}
	r.recorded = newest
	return nil
}

// writeStream puts a head into HEADS, however often it takes while ctx lasts.
func (r *recorder) writeStream(ctx context.Context, h events.Head) error {
	for attempt := 0; ; attempt++ {
		once, stop := r.log.conn.UntilLost(ctx)
		once, cancel := context.WithTimeout(once, attemptWithin)
		err := bus.RecordHead(once, r.log.conn, r.log.project, h)
		cancel()
		stop()
		if err == nil || pause(ctx, attempt) != nil {
			return err
		}
	}
}

// resume goes on from the heads that were found on record to the log's own.
func (r *recorder) resume(ctx context.Context, found []events.Head, head events.Head) error {
	want := 1
	if r.file != nil {
		want++
	}
	current := len(found) == want && !slices.ContainsFunc(found, func(h events.Head) bool { return h != head })
	if head.Seq > 0 && (!current || r.damaged) {
		return r.record(ctx, head)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	r.recorded = head
	return nil
}

func (r *recorder) writeFile(h events.Head) error {
	if r.file == nil {
		return nil
	}
	body, err := json.Marshal(h)
	if err == nil {
		err = r.file.Write(body)
	}
	if err != nil {
		return fmt.Errorf("head file: %w", err)
	}
	return nil
}

// known reads the heads on record.
func (r *recorder) known(ctx context.Context) ([]events.Head, error) {
	var heads []events.Head
	h, ok, err := bus.RecordedHead(ctx, r.log.conn, r.log.project)
	if err != nil {
		return nil, unavailable(ctx, r.log.conn, err)
	}
	if ok {
		heads = append(heads, h)
	}
	if r.file == nil {
		return heads, nil
	}
	body, damaged, err := r.file.Read()
	r.damaged = damaged > 0
	if r.damaged {
		r.log.opts.Logger.ErrorContext(ctx, "head file damaged", slog.String("path", r.file.Path), slog.Int("slots", damaged))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return heads, nil
	case errors.Is(err, durable.ErrCorrupt) && ok: // the other record has to do
		return heads, nil
	case errors.Is(err, durable.ErrCorrupt):
		return nil, fmt.Errorf("%w: the only record of its head is damaged: %w", events.ErrDiverged, err)
	case err != nil:
		return nil, fmt.Errorf("%w: head file: %w", events.ErrUnavailable, err)
	}
	if err := json.Unmarshal(body, &h); err != nil {
		return nil, fmt.Errorf("%w: head file %s: %w", events.ErrDiverged, r.file.Path, err)
	}
	return append(heads, h), nil
}
