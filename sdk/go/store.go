package sluice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
)

// A Store keeps the last known state outside the process. Several clients may
// share one: each reads and writes under a name of its own, which is made of its
// key and does not give the key away.
type Store interface {
	// Load returns what was saved under a name, [fs.ErrNotExist] if nothing was.
	Load(ctx context.Context, name string) ([]byte, error)
	// Save replaces what is saved under a name. Whoever loads sees the old or the
	// new data, whole.
	Save(ctx context.Context, name string, data []byte) error
}

// A FileStore keeps states as files in the folder of this name.
type FileStore string

var _ Store = FileStore("")

// Load implements [Store].
func (s FileStore) Load(_ context.Context, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(s), name))
}

// Save implements [Store]: a new file takes the place of the old one.
func (s FileStore) Save(_ context.Context, name string, data []byte) (err error) {
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(string(s), name+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to hear of
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(string(s), name))
}

// storeTimeout bounds one call of a store.
const storeTimeout = 5 * time.Second

// saveDelay is how long changes wait for company before they are saved.
const saveDelay = time.Second

// A keeper brings the state to the store, the newest only, so that a slow store
// delays nobody.
type keeper struct {
	store  Store
	name   string
	logger *slog.Logger

	mu   sync.Mutex
	text *document
	news chan struct{} // capacity 1: text has changed
}

func newKeeper(s Store, key string, l *slog.Logger) *keeper {
	digest := sha256.Sum256([]byte(key))
	return &keeper{store: s, name: "sluice-" + hex.EncodeToString(digest[:8]) + ".json", logger: l, news: make(chan struct{}, 1)}
}

// load returns the state that was saved, as the full frame it came from.
func (k *keeper) load() (live.Full, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	data, err := k.store.Load(ctx, k.name)
	if err != nil {
		return live.Full{}, fmt.Errorf("loading %s: %w", k.name, err)
	}
	frame, err := live.DecodeServer(data)
	if err != nil {
		return live.Full{}, fmt.Errorf("loading %s: %w", k.name, err)
	}
	full, ok := frame.(live.Full)
	if !ok {
		return live.Full{}, fmt.Errorf("loading %s: want a full frame, got %s", k.name, frame.Type())
	}
	return full, nil
}

// replace takes a whole new state; save says whether the store lacks it.
func (k *keeper) replace(body []byte, at live.Position, time int64, save bool) {
	text, err := newDocument(body, at, time)
	if err != nil {
		k.logger.Warn("state not kept", slog.Any("error", err))
		return
	}
	k.mu.Lock()
	k.text = text
	k.mu.Unlock()
	if save {
		k.wake()
	}
}

func (k *keeper) apply(c live.Change) {
	k.mu.Lock()
	if k.text != nil {
		k.text.apply(c)
	}
	k.mu.Unlock()
	k.wake()
}

func (k *keeper) wake() {
	select {
	case k.news <- struct{}{}:
	default: // the one that waits will find it
	}
}

// run saves until ctx ends, and then once more if need be.
func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-k.news:
				k.save()
			default:
			}
			return
		case <-k.news:
		}
		select {
		case <-ctx.Done():
		case <-time.After(saveDelay):
		}
		k.save()
	}
}

func (k *keeper) save() {
	k.mu.Lock()
	if k.text == nil {
		k.mu.Unlock()
		return
	}
	full, err := k.text.frame()
	k.mu.Unlock()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		err = k.store.Save(ctx, k.name, full.AppendJSON(nil))
	}
	if err != nil {
		k.logger.Warn("state not kept", slog.Any("error", err))
	}
}

func sortedValues(m map[string]json.RawMessage) []json.RawMessage {
	out := make([]json.RawMessage, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[name])
	}
	return out
}

// begin takes up what the store or else the bootstrap holds, and returns it. A
// store that fails costs a warning; a bootstrap that cannot be read is the
// caller's mistake.
func (c *Client) begin() (definitions, error) {
	var held definitions
	if c.options.bootstrap != nil {
		d, err := c.options.parse(c.options.bootstrap, live.Position{}, eval.SourceBootstrap)
		if err != nil {
			return held, fmt.Errorf("bootstrap: %w", err)
		}
		held = d
	}
	if c.keeper != nil {
		full, err := c.keeper.load()
		var d definitions
		if err == nil {
			d, err = c.options.parse(full.Payload, full.Position, eval.SourceStore)
		}
		switch {
		case err == nil:
			held = d
			c.keeper.replace(full.Payload, full.Position, full.Time, false)
		case !errors.Is(err, fs.ErrNotExist):
			c.options.logger.Warn("stored state not used", slog.Any("error", err))
		}
	}
	if held.rules != nil {
		c.rules.Store(held.rules)
		c.board.moved(held.Seq, held.time())
	}
	return held, nil
}
