package sluice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

const listed = `{"has_updates":true,"time":1000,"dynamic_configs":[],"layer_configs":[],"feature_gates":[
 {"name":"beta","type":"feature_gate","entity":"feature_gate","salt":"s","enabled":true,"defaultValue":false,"idType":"userID","rules":[
  {"name":"members","id":"members","passPercentage":100,"returnValue":true,"idType":"userID","conditions":[
   {"type":"unit_id","operator":"in_segment_list","targetValue":"vips","idType":"userID"}]}]}]}`

// listServer serves one list, vips, and notes from where it is read.
type listServer struct {
	*httptest.Server
	file  string
	asked []string
}

func newListServer(t *testing.T, changes ...string) *listServer {
	s := new(listServer)
	for _, change := range changes {
		s.file += change[:1] + eval.HashID(change[1:]) + "\n"
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == idListsPath {
			_ = json.NewEncoder(w).Encode(map[string]listing{"vips": {Size: int64(len(s.file)), CreationTime: 1, URL: s.URL + "/vips", FileID: "f1"}})
			return
		}
		s.asked = append(s.asked, r.Header.Get("Range"))
		var from int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte(s.file[from:])) // the client has gone: nobody is left to tell
	}))
	t.Cleanup(s.Close)
	return s
}

// lists follows the server's lists from what files have.
func (s *listServer) lists(t *testing.T, files map[string]*idFile) *idLists {
	t.Helper()
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	l := newIDLists(at, "", s.Client(), files)
	if err := l.sync(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMembersOfIDListsAreThereWithoutNetwork(t *testing.T) {
	dir := t.TempDir()
	first := newListServer(t, "+ann", "+bob", "-bob").lists(t, nil)
	k := newKeeper(FileStore(dir), "", slog.New(slog.DiscardHandler))
	k.replace([]byte(listed), position(5), 1000, true)
	k.keepLists(first.snapshot())
	k.save()

	c, err := New("", WithLocalMode(), WithStore(FileStore(dir)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context()) //nolint:errcheck // nothing to lose
	for id, want := range map[string]bool{"ann": true, "bob": false} {
		if got := c.Gate(&User{UserID: id}, "beta"); got.Value != want || got.Source != SourceStore {
			t.Errorf("Gate(beta) of %s = %+v; want %v from the store", id, got, want)
		}
	}

	// Whoever has a network again reads on from where it was.
	files, err := k.loadLists()
	if err != nil {
		t.Fatal(err)
	}
	later := newListServer(t, "+ann", "+bob", "-bob", "-ann", "+cleo")
	l := later.lists(t, files)
	if got := strings.Join(later.asked, " "); got != "bytes=30-" {
		t.Errorf("the file was asked for %q; want what is new", got)
	}
	for id, want := range map[string]bool{"ann": false, "bob": false, "cleo": true} {
		if got := l.members()["vips"].Has(eval.HashID(id)); got != want {
			t.Errorf("%s is a member: %v; want %v", id, got, want)
		}
	}
	if !l.moved {
		t.Error("there is nothing to keep; want what is new kept")
	}
}

func TestStoredListsThatCannotBeReadCostAWarning(t *testing.T) {
	for name, content := range map[string]string{
		"not JSON":                     "nonsense",
		"cut":                          `{"vips":{"fileID":"f1","read":10,"members":"abc"}}`,
		"no file":                      `{"vips":{"read":10,"members":"abcdefgh"}}`,
		"read below":                   `{"vips":{"fileID":"f1","read":-1,"members":"abcdefgh"}}`,
		"read in the middle of a line": `{"vips":{"fileID":"f1","read":15,"members":"abcdefgh"}}`,
	} {
		dir := t.TempDir()
		k := newKeeper(FileStore(dir), "", slog.New(slog.DiscardHandler))
		k.replace([]byte(listed), position(5), 1000, true)
		k.save()
		if err := os.WriteFile(filepath.Join(dir, k.listsName()), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		c, err := New("", WithLocalMode(), WithStore(FileStore(dir)), WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Gate(&User{UserID: "ann"}, "beta"); !got.Found || got.Value || !strings.Contains(out.String(), "stored id lists not used") {
			t.Errorf("%s: Gate(beta) = %+v, log %q; want false by the stored rules, and a warning", name, got, out.String())
		}
		_ = c.Close(t.Context()) // nothing to lose
	}
}
