package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-flags/sluice/internal/durable"
)

func newFile(t *testing.T) durable.File {
	return durable.File{Path: filepath.Join(t.TempDir(), "state"), Magic: durable.Magic([]byte("TESTFILE")), Version: 1}
}

func write(t *testing.T, f durable.File, payload string) {
	t.Helper()
	if err := f.Write([]byte(payload)); err != nil {
		t.Fatalf("Write(%q): %v", payload, err)
	}
}

func TestNewestPayloadIsRead(t *testing.T) {
	f := newFile(t)
	for _, payload := range []string{"one", "", "three"} {
		write(t, f, payload)
		if got, damaged, err := f.Read(); string(got) != payload || damaged != 0 || err != nil {
			t.Errorf("Read() = %q, %d, %v; want %q, 0, nil", got, damaged, err, payload)
		}
	}
}

func TestNothingWrittenIsNotExist(t *testing.T) {
	if _, _, err := newFile(t).Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read() = %v; want fs.ErrNotExist", err)
	}
}

func TestAnyDamageFallsBackToTheGenerationBefore(t *testing.T) {
	reference := newFile(t)
	write(t, reference, "newest")
	whole, err := os.ReadFile(reference.Path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		for name, bad := range map[string][]byte{
			"cut":     whole[:at],
			"flipped": append(append(append([]byte{}, whole[:at]...), whole[at]^1), whole[at+1:]...),
		} {
			f := newFile(t)
			write(t, f, "older")
			write(t, f, "newest")
			if err := os.WriteFile(f.Path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			got, damaged, err := f.Read()
			if string(got) != "older" || damaged != 1 || err != nil {
				t.Errorf("%s at %d: Read() = %q, %d, %v; want %q, 1, nil", name, at, got, damaged, err, "older")
			}
			if _, err := os.Stat(f.Path + ".corrupt"); err != nil {
				t.Errorf("%s at %d: the damaged file was not set aside: %v", name, at, err)
			}
		}
	}
}

func TestOnlyDamagedGenerationsAreAnError(t *testing.T) {
	f := newFile(t)
	write(t, f, "payload")
	if err := os.WriteFile(f.Path, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, damaged, err := f.Read(); damaged != 1 || !errors.Is(err, durable.ErrCorrupt) {
		t.Errorf("Read() = _, %d, %v; want 1, ErrCorrupt", damaged, err)
	}
}

func TestACrashBetweenTheRenamesLosesNothing(t *testing.T) {
	f := newFile(t)
	write(t, f, "kept")
	if err := os.Rename(f.Path, f.Path+".1"); err != nil {
		t.Fatal(err)
	}
	if got, _, err := f.Read(); string(got) != "kept" || err != nil {
		t.Errorf("Read() = %q, %v; want %q", got, err, "kept")
	}
}

func TestAFailedWriteKeepsTheOldPayload(t *testing.T) {
	f := newFile(t)
	write(t, f, "kept")
	if err := os.Mkdir(f.Path+".tmp", 0o700); err != nil { // the temporary file cannot be made
		t.Fatal(err)
	}
	if err := f.Write([]byte("new")); err == nil {
		t.Error("Write() = nil; want an error")
	}
	if got, _, err := f.Read(); string(got) != "kept" || err != nil {
		t.Errorf("Read() = %q, %v; want %q", got, err, "kept")
	}
}

func FuzzRead(f *testing.F) {
	seedFile := durable.File{Path: filepath.Join(f.TempDir(), "seed"), Magic: durable.Magic([]byte("TESTFILE")), Version: 1}
	if err := seedFile.Write([]byte("payload")); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(seedFile.Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{})
	f.Add(whole[:20])
	f.Fuzz(func(t *testing.T, content []byte) {
		file := durable.File{Path: filepath.Join(t.TempDir(), "state"), Magic: durable.Magic([]byte("TESTFILE")), Version: 1}
		if err := os.WriteFile(file.Path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		payload, _, err := file.Read()
		if err != nil {
			return
		}
		if err := file.Write(payload); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(file.Path)
		if err != nil || string(again) != string(content) {
			t.Errorf("accepted %q, but writes it as %q (%v)", content, again, err)
		}
	})
}
