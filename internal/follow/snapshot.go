package follow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/sluice-flags/sluice/internal/durable"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A SnapshotStore keeps the last state of each project in a folder, one file of
// two generations each. The files are caches: whoever removes them loses nothing
// but the ability to start while the log is away.
type SnapshotStore struct{ dir string }

// A snapshot is compressed JSON. Its version is the file's.
const (
	snapshotVersion = 1
	snapshotMost    = 256 << 20 // of JSON; a project has 10 MiB
)

var snapshotMagic = durable.Magic([]byte("SLUICESN"))

type snapshot struct {
	Project  string           `json:"project"`
	Head     events.Head      `json:"head"`
	Entities []snapshotEntity `json:"entities"`
}

type snapshotEntity struct {
	Kind     flags.Kind      `json:"kind"`
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Version  uint64          `json:"version"`
	Seq      uint64          `json:"seq"`
	Time     int64           `json:"time"`
	Created  int64           `json:"created"`
	Document json.RawMessage `json:"document,omitempty"` // absent: deleted
}

// NewSnapshotStore returns a store in a folder, which it makes if need be.
func NewSnapshotStore(dir string) (*SnapshotStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("snapshot folder: %w", err)
	}
	return &SnapshotStore{dir: dir}, nil
}

func (s *SnapshotStore) file(project string) durable.File {
	return durable.File{Path: filepath.Join(s.dir, project+".snapshot"), Magic: snapshotMagic, Version: snapshotVersion}
}

// Save replaces the snapshot of a project.
func (s *SnapshotStore) Save(state *flags.State, head events.Head) error {
	out := snapshot{Project: state.Project(), Head: head}
	for e := range state.Entities() {
		out.Entities = append(out.Entities, snapshotEntity{
			Kind: e.Ref.Kind, ID: e.Ref.ID, Name: e.Name,
			Version: e.Version, Seq: e.Seq, Time: e.Time, Created: e.Created,
			Document: e.Raw,
		})
	}
	var body bytes.Buffer
	doc := json.NewEncoder(&body)
	doc.SetEscapeHTML(false) // documents come back byte for byte
	if err := doc.Encode(out); err != nil {
		return fmt.Errorf("snapshot of %s: %w", state.Project(), err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", state.Project(), err)
	}
	defer enc.Close()
	if err := s.file(state.Project()).Write(enc.EncodeAll(body.Bytes(), nil)); err != nil {
		return fmt.Errorf("snapshot of %s: %w", state.Project(), err)
	}
	return nil
}

// Load reads the newest whole snapshot of a project, and how many damaged ones
// it set aside. Without any it returns [fs.ErrNotExist].
func (s *SnapshotStore) Load(project string) (state *flags.State, head events.Head, damaged int, err error) {
	payload, damaged, err := s.file(project).Read()
	if err == nil {
		state, head, err = decodeSnapshot(project, payload)
	}
	if err != nil {
		return nil, events.Head{}, damaged, fmt.Errorf("snapshot of %s: %w", project, err)
	}
	return state, head, damaged, nil
}

func decodeSnapshot(project string, payload []byte) (*flags.State, events.Head, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(snapshotMost), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, events.Head{}, err
	}
	defer dec.Close()
	body, err := dec.DecodeAll(payload, nil)
	if err != nil {
		return nil, events.Head{}, err
	}
	var in snapshot
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, events.Head{}, err
	}
	if in.Project != project || in.Head.LogID == "" {
		return nil, events.Head{}, fmt.Errorf("it is of project %q, log %q", in.Project, in.Head.LogID)
	}
	entities := make([]flags.Entity, len(in.Entities))
	for i, e := range in.Entities {
		entities[i] = flags.Entity{
			Ref:  flags.Ref{Kind: e.Kind, ID: e.ID},
			Name: e.Name, Version: e.Version, Seq: e.Seq, Time: e.Time, Created: e.Created,
			Deleted: e.Document == nil, Raw: e.Document,
		}
		if e.Document == nil {
			continue
		}
		if entities[i].Doc, err = flags.Load(e.Kind, e.Document); err != nil {
			return nil, events.Head{}, err
		}
	}
	at := flags.Position{LogID: in.Head.LogID, Seq: in.Head.Seq, Time: in.Head.Time}
	return flags.NewState(project).With(at, entities...), in.Head, nil
}

// loadSnapshot serves what the disk has until the log says more.
func (f *Follower) loadSnapshot(ctx context.Context) {
	state, head, damaged, err := f.opts.Snapshots.Load(f.project)
	f.metrics.snapshotsDamaged.Add(float64(damaged))
	if damaged > 0 {
		f.opts.Logger.ErrorContext(ctx, "snapshot damaged and set aside", slog.Int("generations", damaged))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		f.opts.Logger.ErrorContext(ctx, "snapshot not readable", slog.Any("error", err))
		return
	}
	f.swap(&view{state: state, head: head}, difference(nil, state))
	f.stale("from the disk, the log has not been reached yet")
	f.opts.Logger.InfoContext(ctx, "snapshot loaded", slog.Uint64("seq", head.Seq))
}

// saveSnapshots writes the state to disk: the first at once, since the disk may
// have none, later ones a moment after a change, and once more at the end. A disk
// that fails costs a restart its snapshot, nothing else.
func (f *Follower) saveSnapshots(ctx context.Context) {
	var saved events.Head
	save := func() {
		v := f.view.Load()
		if v == nil || v.head == saved {
			return
		}
		if err := f.opts.Snapshots.Save(v.state, v.head); err != nil {
			f.metrics.snapshotFailures.Inc()
			f.opts.Logger.Error("snapshot not written", slog.Any("error", err))
			return
		}
		saved = v.head
		f.metrics.unsaved.set(f, f.Head() != saved)
	}
	defer f.metrics.unsaved.set(f, false) // nobody's any longer
	defer save()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.dirty:
			f.metrics.unsaved.set(f, true)
		}
		if saved.Seq > 0 && !lifecycle.Sleep(ctx, snapshotEvery) {
			return
		}
		save()
	}
}
