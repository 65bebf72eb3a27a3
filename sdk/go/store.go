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
// share one: each reads and writes under names of its own, which are made of its
// key and do not give the key away: one for rules, one for the members of id lists.
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

	mu    sync.Mutex
	text  *document
	lists map[string]idFile // that the store lacks; nil if it has them
	news  chan struct{}     // capacity 1: there is something to save
}

func newKeeper(s Store, key string, l *slog.Logger) *keeper {
	digest := sha256.Sum256([]byte(key))
	return &keeper{store: s, name: "sluice-" + hex.EncodeToString(digest[:8]), logger: l, news: make(chan struct{}, 1)}
}

// load returns the state that was saved, as the full frame it came from.
func (k *keeper) load() (live.Full, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	data, err := k.store.Load(ctx, k.stateName())
	if err != nil {
		return live.Full{}, fmt.Errorf("loading %s: %w", k.stateName(), err)
	}
	frame, err := live.DecodeServer(data)
	if err != nil {
		return live.Full{}, fmt.Errorf("loading %s: %w", k.stateName(), err)
	}
	full, ok := frame.(live.Full)
	if !ok {
		return live.Full{}, fmt.Errorf("loading %s: want a full frame, got %s", k.stateName(), frame.Type())
	}
	return full, nil
}

// loadLists returns the id lists that were saved, nil if there were none.
func (k *keeper) loadLists() (map[string]*idFile, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	data, err := k.store.Load(ctx, k.listsName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files map[string]*idFile
	if err == nil {
		files, err = decodeLists(data)
	}
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", k.listsName(), err)
	}
	return files, nil
}

// keepLists takes the id lists as they are now.
func (k *keeper) keepLists(files map[string]idFile) {
	k.mu.Lock()
	k.lists = files
	k.mu.Unlock()
	k.wake()
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
	text, lists := k.text, k.lists
	k.lists = nil
	var full live.Full
	var err error
	if text != nil {
		full, err = text.frame()
	}
	k.mu.Unlock()
	// The lists first: rules without their members would answer otherwise.
	if lists != nil && !k.put(k.listsName(), func() ([]byte, error) { return encodeLists(lists) }) {
		k.mu.Lock()
		if k.lists == nil {
			k.lists = lists // to be tried again with the next change
		}
		k.mu.Unlock()
	}
	if text != nil {
		k.put(k.stateName(), func() ([]byte, error) { return full.AppendJSON(nil), err })
	}
}

// put brings something to the store, and reports whether it is there.
func (k *keeper) put(name string, encode func() ([]byte, error)) bool {
	data, err := encode()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		err = k.store.Save(ctx, name, data)
	}
	if err != nil {
		k.logger.Warn("state not kept", slog.String("name", name), slog.Any("error", err))
	}
	return err == nil
}

// The names under which a store has the rules, and the members of their id lists.
func (k *keeper) stateName() string { return k.name + ".json" }
func (k *keeper) listsName() string { return k.name + "-lists.json" }

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
func (c *Client) begin() (held definitions, files map[string]*idFile, err error) {
	if c.options.bootstrap != nil {
		d, err := c.options.parse(c.options.bootstrap, live.Position{}, eval.SourceBootstrap)
		if err != nil {
			return held, nil, fmt.Errorf("bootstrap: %w", err)
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
			if files, err = c.keeper.loadLists(); err != nil {
				c.options.logger.Warn("stored id lists not used", slog.Any("error", err))
			}
			held, _ = held.withLists(membersOf(files))
		case !errors.Is(err, fs.ErrNotExist):
			c.options.logger.Warn("stored state not used", slog.Any("error", err))
		}
	}
	if held.rules != nil {
		c.rules.Store(held.rules)
		c.board.moved(held.Seq, held.time())
	}
	return held, files, nil
}
