package sluice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
)

func TestTheStoreBringsTheLastStateOverARestartWithoutNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, store := newEdge(t), FileStore(filepath.Join(t.TempDir(), "states"))
		e.live = func(p *peer) {
			p.full(position(5), 1000, gate("checkout", false), gate("old", true))
			p.send(change(5, 9, 2000, "checkout", gate("checkout", true)))
			p.send(live.Change{Prev: 9, Seq: 10, Time: 3000, Layers: json.RawMessage(`{"home":["pricing"]}`),
				Entries: []live.Entry{{Section: live.SectionGates, Name: "old"}}})
			p.drain()
		}
		first := e.client(WithStore(store))
		ready(t, first)
		synctest.Wait()
		if err := first.Close(t.Context()); err != nil {
			t.Fatalf("Close() = %v", err)
		}
		files, err := os.ReadDir(string(store))
		if err != nil || len(files) != 1 || strings.Contains(files[0].Name(), testKey) {
			t.Errorf("the store holds %v, %v; want one file, not named by the key", files, err)
		}

		e.set(func(e *edge) { e.down = true })
		bootstrap := WithBootstrap(download1(1, gate("checkout", false)))
		second := e.client(WithStore(store), bootstrap)
		if got := second.Gate(ann, "checkout"); !got.Value || got.Sequence != 10 || got.Source != SourceStore {
			t.Errorf("Gate(checkout) = %+v; want true from the store, before the bootstrap", got)
		}
		if got := second.Gate(ann, "old"); got.Found {
			t.Errorf("Gate(old) = %+v; want it gone", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := second.Status(); s.State != Stale || s.Sequence != 10 || s.Time != 3000 {
			t.Errorf("Status() = %+v; want stale at 10", s)
		}
		e.set(func(e *edge) {
			e.down = false
			e.live = func(p *peer) {
				if p.hello.Position != position(10) {
					t.Errorf("hello offers %+v; want the stored position", p.hello.Position)
				}
				p.send(live.Answer{Intent: live.IntentNone, Position: position(12)})
				p.drain()
			}
		})
		time.Sleep(backoffCap)
		synctest.Wait()
		if s := second.Status(); s.State != Ready || s.Sequence != 12 {
			t.Errorf("Status() = %+v; want ready at 12", s)
		}
	})
}

func TestAStoredDocumentIsWhatAFullStateWouldBe(t *testing.T) {
	d, err := newDocument([]byte(project), position(5), 1000)
	if err != nil {
		t.Fatal(err)
	}
	d.apply(change(5, 6, 2000, "banner", gate("banner", true)))
	full, err := d.frame()
	if err != nil || full.Seq != 6 || full.Time != 2000 {
		t.Fatalf("frame() = %+v, %v; want one at 6", full, err)
	}
	o := defaults()
	direct, err := o.parse([]byte(project), position(5), eval.SourceNetwork)
	if err != nil {
		t.Fatal(err)
	}
	direct, _, err = direct.change(change(5, 6, 2000, "banner", gate("banner", true)))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := o.parse(full.Payload, full.Position, eval.SourceStore)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Position != direct.Position || stored.time() != direct.time() {
		t.Errorf("stored %+v at %d; want %+v at %d", stored.Position, stored.time(), direct.Position, direct.time())
	}
	for _, name := range []string{"button", "pricing"} {
		if diff := cmp.Diff(direct.rules.Config(staff, name).Value, stored.rules.Config(staff, name).Value); diff != "" {
			t.Errorf("Config(%s) (-direct +stored):\n%s", name, diff)
		}
	}
	if !stored.rules.Gate(ann, "banner").Pass {
		t.Error("Gate(banner) of the stored state = false; want true")
	}
}

func TestAStoreThatFailsCostsAWarning(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"not JSON":         "nonsense",
		"another frame":    `{"type":"ping","seq":1}`,
		"an odd payload":   `{"type":"full","epoch":"e","seq":1,"context":"c","time":1,"payload":{"feature_gates":3}}`,
		"a truncated file": `{"type":"full","epoch":"e","seq":1,"cont`,
	} {
		var out bytes.Buffer
		file := filepath.Join(dir, newKeeper(FileStore(dir), "", nil).stateName())
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c := local(t, WithStore(FileStore(dir)), WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		if !c.Gate(staff, "checkout").Value || !strings.Contains(out.String(), "stored state not used") {
			t.Errorf("%s: Gate(checkout) = %v, log %q; want the bootstrap's answer and a warning", name, c.Gate(staff, "checkout").Value, out.String())
		}
	}
}

func TestAFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	store := FileStore(t.TempDir())
	if _, err := store.Load(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load(absent) = %v; want ErrNotExist", err)
	}
	for _, want := range []string{"one", "two"} {
		if err := store.Save(t.Context(), "x", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Load(t.Context(), "x"); err != nil || string(got) != want {
			t.Errorf("Load() = %q, %v; want %q", got, err, want)
		}
	}
	// Something is in the way: the attempt leaves nothing behind.
	if err := os.MkdirAll(filepath.Join(string(store), "taken", "by a folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), "taken", []byte("x")); err == nil {
		t.Error("Save(over a folder) = nil; want an error")
	}
	left, err := filepath.Glob(filepath.Join(string(store), "*.new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v; want nothing", left, err)
	}
}

// slowStore takes its time to save.
type slowStore struct{ saved chan string }

func (slowStore) Load(context.Context, string) ([]byte, error) { return nil, fs.ErrNotExist }
func (s slowStore) Save(ctx context.Context, _ string, data []byte) error {
	select {
	case <-time.After(4 * time.Second):
		s.saved <- string(data)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestASlowStoreDelaysNobodyAndGetsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, store := newEdge(t), slowStore{saved: make(chan string, 10)}
		e.live = func(p *peer) {
			p.full(position(1), 1000, gate("checkout", false))
			for seq := range uint64(100) {
				p.send(change(seq+1, seq+2, int64(seq)+2000, "checkout", gate("checkout", seq == 99)))
			}
			p.drain()
		}
		c := e.client(WithStore(store))
		ready(t, c)
		synctest.Wait()
		if got := c.Gate(ann, "checkout"); !got.Value || got.Sequence != 101 {
			t.Errorf("Gate(checkout) = %+v; want true at 101 without waiting for the store", got)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close() = %v", err)
		}
		close(store.saved)
		var last string
		n := 0
		for last = range store.saved {
			n++
		}
		if n == 0 || n > 2 || !strings.Contains(last, `"seq":101,`) {
			t.Errorf("%d saves, the last %s; want one or two, the last at 101", n, last)
		}
	})
}
