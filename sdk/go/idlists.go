package sluice

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/sluice-flags/sluice/pkg/eval"
)

const (
	idListsPath = "/v1/get_id_lists"
	idLineWidth = 10       // of a line: a sign, eight characters of hash, and the line's end
	maxManifest = 64 << 20 // bytes of the answer that says where lists are
)

// idLists are the members of the id lists that rules ask. Members do not travel
// with rules: each list is a file that grows, and is read on from where it was
// left. Only the feed's goroutine uses them.
type idLists struct {
	web  *http.Client
	edge *url.URL
	key  string

	files map[string]*idFile
	owed  bool // something may have been missed: ask again
	moved bool // since a snapshot was last kept
}

// An idFile is a list and how far its file has been read.
type idFile struct {
	id      string
	created int64
	read    int64
	members *eval.IDList
}

// newIDLists returns lists that go on from what the files have, which may be nil.
func newIDLists(edge *url.URL, key string, web *http.Client, files map[string]*idFile) *idLists {
	if files == nil {
		files = map[string]*idFile{}
	}
	return &idLists{web: web, edge: edge, key: key, files: files, owed: true}
}

// sync reads all lists on. Least is the sequence that the edge must have come to:
// one that has not owes us something, and so does one that cannot be asked.
func (l *idLists) sync(ctx context.Context, least uint64) error {
	l.owed = true
	manifest, at, err := l.manifest(ctx)
	if err != nil {
		return fmt.Errorf("asking for id lists: %w", err)
	}
	l.owed = at < least
	for _, name := range slices.Sorted(maps.Keys(manifest)) {
		if failed := l.follow(ctx, name, manifest[name]); failed != nil {
			l.owed = true
			err = errors.Join(err, fmt.Errorf("reading id list %s: %w", name, failed))
		}
	}
	for name := range l.files {
		if _, ok := manifest[name]; !ok && !l.owed {
			delete(l.files, name)
			l.moved = true
		}
	}
	return err
}

// members are the lists as they have been read. A list that nobody changed is the
// very same as before.
func (l *idLists) members() map[string]*eval.IDList { return membersOf(l.files) }

// A listing is what an edge says of one list.
type listing struct {
	Size         int64  `json:"size"`
	CreationTime int64  `json:"creationTime"`
	URL          string `json:"url"`
	FileID       string `json:"fileID"`
}

// manifest asks where the lists are, and at which sequence the edge stands.
func (l *idLists) manifest(ctx context.Context) (lists map[string]listing, at uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.edge.JoinPath(idListsPath).String(), http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Statsig-Api-Key", l.key)
	res, err := l.web.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("status %d", res.StatusCode)
	}
	at, _ = strconv.ParseUint(res.Header.Get("Sluice-Sequence"), 10, 64) // another server's does not say: 0
	return lists, at, json.NewDecoder(io.LimitReader(res.Body, maxManifest)).Decode(&lists)
}

// follow reads one list to the size that is listed.
func (l *idLists) follow(ctx context.Context, name string, is listing) error {
	f := l.files[name]
	switch {
	case is.URL == "" || is.FileID == "", f != nil && is.CreationTime < f.created:
		return nil // nothing to read, or from an edge that is behind
	case f == nil || f.id != is.FileID:
		fresh := &idFile{id: is.FileID, created: is.CreationTime, members: new(eval.IDList)}
		if err := l.download(ctx, fresh, is); err != nil {
			return err // the old members are better than some of the new
		}
		l.files[name], l.moved = fresh, true
		return nil
	case is.Size <= f.read:
		return nil
	}
	l.moved = true // whole lines before a failure count
	return l.download(ctx, f, is)
}

// download reads a file on.
func (l *idLists) download(ctx context.Context, f *idFile, is listing) error {
	if is.Size == 0 {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, is.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", "bytes="+strconv.FormatInt(f.read, 10)+"-")
	res, err := l.web.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent && (res.StatusCode != http.StatusOK || f.read > 0) {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	body := bufio.NewReader(res.Body)
	var failed error
	f.members = f.members.Edit(int(is.Size-f.read)/idLineWidth, func(yield func(string, bool) bool) {
		line := make([]byte, idLineWidth)
		for {
			switch _, err := io.ReadFull(body, line); {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				failed = err // the whole lines before it count
				return
			case line[0] != '+' && line[0] != '-', line[idLineWidth-1] != '\n':
				failed = fmt.Errorf("%q is no line of an id list", line)
				return
			}
			f.read += idLineWidth
			yield(string(line[1:idLineWidth-1]), line[0] == '+')
		}
	})
	return failed
}
