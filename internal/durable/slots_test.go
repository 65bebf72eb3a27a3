package durable_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/durable"
)

const (
	block  = 4096
	sector = 512
)

// newSlots is a new process's view of the file at path.
func newSlots(path string) *durable.Slots {
	return &durable.Slots{Path: path, Magic: durable.Magic([]byte("TESTSLOT")), Version: 1}
}

func writeSlots(t testing.TB, s *durable.Slots, payloads ...string) {
	t.Helper()
	for _, payload := range payloads {
		if err := s.Write([]byte(payload)); err != nil {
			t.Fatalf("Write(%.20q): %v", payload, err)
		}
	}
}

func wantSlots(t testing.TB, path, payload string, damaged int) {
	t.Helper()
	got, n, err := newSlots(path).Read()
	if string(got) != payload || n != damaged || err != nil {
		t.Errorf("Read() = %.20q, %d, %v; want %.20q, %d, nil", got, n, err, payload, damaged)
	}
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	c, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// put makes a file anew: to cut one off and write it again would wait for the
// disk on some file systems, and the tests below do it ten thousand times.
func put(t testing.TB, path string, content []byte) {
	t.Helper()
	for _, old := range []string{path, path + ".corrupt"} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSlotsReadTheNewestPayload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := newSlots(path)
	for _, payload := range []string{"one", "", "three", strings.Repeat("x", durable.MaxSlotPayload), "five"} {
		writeSlots(t, s, payload)
		wantSlots(t, path, payload, 0)
	}
}

func TestSlotsThatWereNeverWrittenDoNotExist(t *testing.T) {
	if _, damaged, err := newSlots(filepath.Join(t.TempDir(), "state")).Read(); damaged != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read() = %d damaged, %v; want 0, fs.ErrNotExist", damaged, err)
	}
}

func TestAPayloadThatDoesNotFitItsSlotIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := newSlots(path)
	writeSlots(t, s, "kept")
	if err := s.Write(make([]byte, durable.MaxSlotPayload+1)); !errors.Is(err, durable.ErrTooLarge) {
		t.Errorf("Write(%d bytes) = %v; want ErrTooLarge", durable.MaxSlotPayload+1, err)
	}
	wantSlots(t, path, "kept", 0)
}

func TestSlotsAreMadeOnceAndThenWrittenInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := newSlots(path)
	writeSlots(t, s, "one")
	made, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"two", "three", "four"} {
		writeSlots(t, s, payload)
		if now, err := os.Stat(path); err != nil || !os.SameFile(made, now) || now.Size() != made.Size() {
			t.Errorf("after Write(%q): another file, or of another size (%v)", payload, err)
		}
	}
}

// A write in place is cut at every byte (of one slot; of the other at every
// tenth), and at every set of sectors: a disk may write them in any order.
func TestATornWriteLeavesTheGenerationBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	fill := func(c string) string { return strings.Repeat(c, durable.MaxSlotPayload) } // no byte is the same before and after
	for _, slot := range []int{0, 1} {
		s := newSlots(path)
		writeSlots(t, s, fill("a"), fill("b"))
		writeSlots(t, s, fill("d"))
		if newestSlot(t, path) == slot { // the next write goes into the other one
			writeSlots(t, s, fill("d"))
		}
		before := content(t, path)
		writeSlots(t, s, fill("e"))
		after := content(t, path)
		if at := newestSlot(t, path); at != slot {
			t.Fatalf("the write under test is in slot %d; want %d", at, slot)
		}
		if other := (1 - slot) * block; !bytes.Equal(before[other:other+block], after[other:other+block]) {
			t.Fatal("a write touches the other slot")
		}
		at := slot * block
		check := func(torn []byte) {
			t.Helper()
			put(t, path, torn)
			switch {
			case bytes.Equal(torn, after):
				wantSlots(t, path, fill("e"), 0)
			case bytes.Equal(torn, before):
				wantSlots(t, path, fill("d"), 0)
			default:
				wantSlots(t, path, fill("d"), 1)
			}
		}
		for cut := 0; cut <= block; cut += 1 + 9*slot {
			check(slices.Concat(before[:at], after[at:at+cut], before[at+cut:]))
		}
		for set := range 1 << (block / sector) {
			torn := bytes.Clone(before)
			for i := range block / sector {
				if set&(1<<i) != 0 {
					copy(torn[at+i*sector:][:sector], after[at+i*sector:])
				}
			}
			check(torn)
		}
	}
}

// newestSlot is the slot whose damage loses the newest payload.
func newestSlot(t *testing.T, path string) int {
	t.Helper()
	whole := content(t, path)
	newest, _, err := newSlots(path).Read()
	if err != nil {
		t.Fatal(err)
	}
	defer put(t, path, whole)
	harmed := bytes.Clone(whole)
	harmed[0] ^= 1
	put(t, path, harmed)
	got, _, err := newSlots(path).Read()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, newest) {
		return 1
	}
	return 0
}

func TestAnyFlippedBitOfASlotIsNoticedAndSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := newSlots(path)
	writeSlots(t, s, "one", "older", "newest")
	whole, newest := content(t, path), newestSlot(t, path)
	for at := range whole {
		harmed := bytes.Clone(whole)
		harmed[at] ^= 1
		put(t, path, harmed)
		want := "newest"
		if at/block == newest {
			want = "older"
		}
		wantSlots(t, path, want, 1)
		if aside := content(t, path+".corrupt"); !bytes.Equal(aside, harmed) {
			t.Fatalf("flipped at %d: what was set aside is not the damaged file", at)
		}
	}
}

func TestAFileThatEndsEarlyFallsBackToWhatIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := newSlots(path)
	writeSlots(t, s, "one", "two", "three")
	if newestSlot(t, path) == 0 {
		writeSlots(t, s, "four")
	}
	writeSlots(t, s, "in slot 0")
	whole := content(t, path)
	for size := range len(whole) {
		put(t, path, whole[:size])
		got, damaged, err := newSlots(path).Read()
		switch {
		case size < block && (damaged != 2 || !errors.Is(err, durable.ErrCorrupt)):
			t.Fatalf("%d bytes left: Read() = %q, %d, %v; want 2, ErrCorrupt", size, got, damaged, err)
		case size >= block && (string(got) != "in slot 0" || damaged != 1 || err != nil):
			t.Fatalf("%d bytes left: Read() = %q, %d, %v; want %q, 1, nil", size, got, damaged, err, "in slot 0")
		}
	}
}

func TestSlotsThatAreSwappedAreDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	writeSlots(t, newSlots(path), "one")
	whole := content(t, path)
	put(t, path, slices.Concat(whole[block:], whole[:block]))
	if _, damaged, err := newSlots(path).Read(); damaged != 2 || !errors.Is(err, durable.ErrCorrupt) {
		t.Errorf("Read() = %d damaged, %v; want 2, ErrCorrupt", damaged, err)
	}
}

func TestOnlyDamagedSlotsAreAnErrorUntilTheNextWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	writeSlots(t, newSlots(path), "one", "two")
	for _, junk := range [][]byte{{}, []byte("junk"), make([]byte, 2*block)} {
		put(t, path, junk)
		for range 2 { // reading it does not make it go away
			if _, damaged, err := newSlots(path).Read(); damaged != 2 || !errors.Is(err, durable.ErrCorrupt) {
				t.Errorf("Read() of %d bytes = %d damaged, %v; want 2, ErrCorrupt", len(junk), damaged, err)
			}
		}
		writeSlots(t, newSlots(path), "three")
		wantSlots(t, path, "three", 0)
	}
}

func TestANewProcessKeepsTheGenerationBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for i, payload := range []string{"one", "two", "three", "four"} {
		writeSlots(t, newSlots(path), payload)
		whole, newest := content(t, path), newestSlot(t, path)
		whole[newest*block+100] ^= 1
		harmed := path + ".harmed"
		put(t, harmed, whole)
		wantSlots(t, harmed, []string{"one", "one", "two", "three"}[i], 1)
	}
}

func TestDamageIsHealedByTheFirstWriteOfAProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	writeSlots(t, newSlots(path), "one", "two")
	whole, newest := content(t, path), newestSlot(t, path)
	whole[newest*block] ^= 1
	put(t, path, whole)
	s := newSlots(path)
	if got, damaged, err := s.Read(); string(got) != "one" || damaged != 1 || err != nil {
		t.Fatalf("Read() = %q, %d, %v; want %q, 1, nil", got, damaged, err, "one")
	}
	writeSlots(t, s, "three")
	wantSlots(t, path, "three", 0)
}

func TestACrashWhileTheFileIsMadeAnewLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	writeSlots(t, newSlots(path), "kept")
	for _, cut := range []int{0, 1, block, 2 * block} {
		put(t, path+".tmp", make([]byte, cut))
		wantSlots(t, path, "kept", 0)
	}
	writeSlots(t, newSlots(path), "new")
	wantSlots(t, path, "new", 0)
}

func TestAWriteThatCannotBeDoneInPlaceMakesTheFileAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := newSlots(path)
	writeSlots(t, s, "one")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writeSlots(t, s, "two")
	wantSlots(t, path, "two", 0)
}

func TestAWriteThatFailsKeepsTheOldPayload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	writeSlots(t, newSlots(path), "kept")
	if err := os.Mkdir(path+".tmp", 0o700); err != nil { // the temporary file cannot be made
		t.Fatal(err)
	}
	s := newSlots(path)
	if err := s.Write([]byte("new")); err == nil {
		t.Error("Write() = nil; want an error")
	}
	wantSlots(t, path, "kept", 0)
	if err := os.Remove(path + ".tmp"); err != nil {
		t.Fatal(err)
	}
	writeSlots(t, s, "again")
	wantSlots(t, path, "again", 0)
}

func TestAFileOfTheOtherFormatIsTheGenerationBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := newSlots(path)
	old := durable.File{Path: path, Magic: s.Magic, Version: s.Version}
	if err := old.Write([]byte("old")); err != nil {
		t.Fatal(err)
	}
	wantSlots(t, path, "old", 0)
	writeSlots(t, s, "new")
	wantSlots(t, path, "new", 0)
	whole, newest := content(t, path), newestSlot(t, path)
	whole[newest*block] ^= 1
	put(t, path, whole)
	wantSlots(t, path, "old", 1)
}

func TestSlotsOfAnotherKindOrVersionAreNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	writeSlots(t, newSlots(path), "one")
	for name, other := range map[string]*durable.Slots{
		"kind":    {Path: path, Magic: durable.Magic([]byte("ANOTHER!")), Version: 1},
		"version": {Path: path, Magic: durable.Magic([]byte("TESTSLOT")), Version: 2},
	} {
		if got, _, err := other.Read(); !errors.Is(err, durable.ErrCorrupt) {
			t.Errorf("another %s: Read() = %q, %v; want ErrCorrupt", name, got, err)
		}
	}
}

func FuzzSlotsRead(f *testing.F) {
	seed := filepath.Join(f.TempDir(), "seed")
	writeSlots(f, newSlots(seed), "one", "two", "three")
	whole := content(f, seed)
	f.Add(whole)
	f.Add(whole[:block])
	f.Add(whole[block:])
	f.Add(whole[:100])
	f.Add(make([]byte, 2*block))
	f.Add([]byte{})
	old := durable.File{Path: seed + ".old", Magic: durable.Magic([]byte("TESTSLOT")), Version: 1}
	if err := old.Write([]byte("old")); err != nil {
		f.Fatal(err)
	}
	f.Add(content(f, old.Path))
	f.Fuzz(func(t *testing.T, found []byte) {
		path := filepath.Join(t.TempDir(), "state")
		put(t, path, found)
		payload, damaged, err := newSlots(path).Read()
		switch {
		case err == nil && damaged > 1:
			t.Errorf("Read() = %q with %d damaged slots", payload, damaged)
		case err != nil && (damaged != 2 || !errors.Is(err, durable.ErrCorrupt)):
			t.Errorf("Read() = %d damaged, %v; want 2, ErrCorrupt", damaged, err)
		}
		if now := content(t, path); !bytes.Equal(now, found) {
			t.Error("Read() changes the file")
		}
		// Whatever was there, the next payload is kept, and what was read before it.
		writeSlots(t, newSlots(path), "next")
		wantSlots(t, path, "next", 0)
		if err == nil {
			whole := content(t, path)
			whole[newestSlot(t, path)*block] ^= 1
			put(t, path, whole)
			wantSlots(t, path, string(payload), 1)
		}
	})
}
