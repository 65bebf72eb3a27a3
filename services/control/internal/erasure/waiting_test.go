package erasure

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

// wish is a project of which one unit is to be erased.
func wish() (*flags.State, flags.Entity) {
	doc := &flags.Erasure{ID: "era_1", Name: "00000000000000ff", UnitType: "userID", Before: new(time.Now())}
	e := flags.Entity{Ref: doc.Ref(), Name: doc.Name, Doc: doc, Version: 1}
	return flags.NewState(warehousetest.Project()).Put(e), e
}

func TestWhatAProjectWaitsForIsSaidAndHoldsUpNoOther(t *testing.T) {
	db := warehousetest.Open(t)
	server, err := embed.Start(embed.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	conn, err := bus.Connect(t.Context(), bus.Config{InProcess: server, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := New(conn, func() *warehouse.DB { return db }, Options{Settle: time.Millisecond})
	defer s.Wait()

	waiting, unit := wish()
	begun := uint64(time.Now().UnixMilli())<<20 | 1
	if err := db.AnnounceRollup(t.Context(), waiting.Project(), begun); err != nil {
		t.Fatal(err)
	}
	until := func(what string, state *flags.State, ok func(Progress) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if err := s.Reconcile(t.Context(), state); err != nil {
				t.Fatalf("Reconcile(%s) = %v", state.Project(), err)
			}
			p := s.Of(state.Project(), unit)
			if ok(p) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("Of(%s) = %+v; want that %s", state.Project(), p, what)
			}
		}
	}
	until("it waits for a rollup", waiting, func(p Progress) bool {
		return strings.Contains(p.Problem, "waits for") && strings.Contains(p.Problem, time.UnixMilli(int64(begun>>20)).UTC().Format(time.RFC3339))
	})
	other, _ := wish()
	until("it is done though another project waits", other, func(p Progress) bool { return p.Finished })
	if p := s.Of(waiting.Project(), unit); p.Finished {
		t.Errorf("Of(%s) = %+v while a rollup is being made; want it to wait", waiting.Project(), p)
	}
	if err := db.DropRollup(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	until("it goes on", waiting, func(p Progress) bool { return p.Finished && p.Problem == "" })
}
