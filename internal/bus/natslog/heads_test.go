package natslog_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/durable"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
)

func TestADamagedHeadFileFallsBackToTheOtherRecord(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	heads := t.TempDir()
	all := logtest.Fill(t, open(t, conn, project, natslog.Options{HeadDir: heads}), 5)
	file := filepath.Join(heads, project+".head")
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, conn, project, natslog.Options{HeadDir: heads}).Writable(t.Context()); err != nil {
		t.Errorf("Writable() = %v; want nil: HEADS still knows", err)
	}
	wantHeadFile(t, file, all[len(all)-1].Head()) // made anew at once

	// With both damaged nobody knows, and a restart does not make that better.
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	deleteStream(t, conn, bus.HeadsStream)
	ensureHeads(t, conn)
	for range 2 {
		if err := open(t, conn, project, natslog.Options{HeadDir: heads}).Writable(t.Context()); !errors.Is(err, events.ErrDiverged) {
			t.Errorf("Writable() = %v; want ErrDiverged", err)
		}
	}
}

// The older slot is enough to know that a log has lost what it had, and the log
// itself brings the newer one back.
func TestAHeadFileWithADamagedSlotStillGuardsTheLog(t *testing.T) {
	for slot := range 2 {
		conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
		ensure(t, conn, project)
		heads := t.TempDir()
		all := logtest.Fill(t, open(t, conn, project, natslog.Options{HeadDir: heads}), 5)
		file := filepath.Join(heads, project+".head")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content[slot*len(content)/2+len(content)/4] ^= 1
		harmed := t.TempDir()
		for _, dir := range []string{heads, harmed} {
			if err := os.WriteFile(filepath.Join(dir, project+".head"), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := open(t, conn, project, natslog.Options{HeadDir: heads}).Writable(t.Context()); err != nil {
			t.Errorf("slot %d damaged: Writable() = %v; want nil", slot, err)
		}
		wantHeadFile(t, file, all[len(all)-1].Head())

		// The log and HEADS are lost: the file is the only record.
		deleteStream(t, conn, bus.FlagsStream(project))
		deleteStream(t, conn, bus.HeadsStream)
		ensure(t, conn, project)
		if err := open(t, conn, project, natslog.Options{HeadDir: harmed}).Writable(t.Context()); !errors.Is(err, events.ErrDiverged) {
			t.Errorf("slot %d damaged, log made anew: Writable() = %v; want ErrDiverged", slot, err)
		}
	}
}

func TestAHeadFileOfTheFormerFormatStillGuardsTheLog(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	all := logtest.Fill(t, open(t, conn, project, natslog.Options{}), 5)
	head := all[len(all)-1].Head()
	former := func(h events.Head) string {
		body, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := (durable.File{Path: filepath.Join(dir, project+".head"), Magic: headMagic, Version: 1}).Write(body); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := former(head)
	log := open(t, conn, project, natslog.Options{HeadDir: dir})
	r, err := log.Append(t.Context(), head, logtest.Command("c", logtest.Gate("z", 1, 0)))
	if err != nil {
		t.Fatalf("Append() = %v", err)
	}
	wantHeadFile(t, filepath.Join(dir, project+".head"), r.Last)

	head.Seq += 3
	if err := open(t, conn, project, natslog.Options{HeadDir: former(head)}).Writable(t.Context()); !errors.Is(err, events.ErrDiverged) {
		t.Errorf("Writable() of a log shorter than its head file says = %v; want ErrDiverged", err)
	}
}

var headMagic = durable.Magic([]byte("SLUICEHD"))

func wantHeadFile(t *testing.T, path string, want events.Head) {
	t.Helper()
	body, damaged, err := (&durable.Slots{Path: path, Magic: headMagic, Version: 1}).Read()
	if err != nil || damaged != 0 {
		t.Fatalf("head file: %d slots damaged, %v", damaged, err)
	}
	var got events.Head
	if err := json.Unmarshal(body, &got); err != nil || got != want {
		t.Errorf("the head file says %s, %v; want %s", got, err, want)
	}
}
