package statsig

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/auth"
	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// downloadPath is where the files of id lists are.
const downloadPath = "/v1/download_id_list_file/"

// idLists answers with the id lists of the key, by the names that rules have for
// them, and where the file of each is.
func (a *API) idLists(w http.ResponseWriter, r *http.Request) error {
	visit, err := a.gate.Server(w, r, protocol.Token(r))
	if err != nil {
		return err
	}
	base := cmp.Or(a.gate.PublicURL, web.BaseURL(r))
	out := map[string]protocol.IDList{}
	for name, list := range flags.IDLists(visit.State, visit.Scope) {
		id := fileID{project: visit.Project, key: visit.Key.ID, file: list.FileID()}.seal(visit.State, visit.Key)
		out[name] = protocol.IDList{Name: name, Size: list.Size(), CreationTime: list.Created(), URL: base + downloadPath + id, FileID: id}
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	return web.Respond(w, http.StatusOK, out)
}

// idListFile answers with a part of a file: the lines behind the offset that the
// caller has come to.
//
// The answer always says how long it is and is never compressed, since SDKs count
// on by that length. A range that begins at the end, or beyond it because another
// edge was ahead of this one, is 416, and SDKs keep what they have.
func (a *API) idListFile(w http.ResponseWriter, r *http.Request) error {
	gone := web.Errorf(web.CodeNotFound, "there is no such file (any more): ask /v1/get_id_lists where the list is now")
	id, ok := parseFileID(r.PathValue("file"))
	if !ok {
		return gone
	}
	who, err := a.gate.Holder(r.Context(), id.project, id.key)
	switch {
	case errors.Is(err, auth.ErrUnknownKey), errors.Is(err, auth.ErrExpired), errors.Is(err, auth.ErrRevoked):
		return gone
	case err != nil:
		return &web.Error{Code: web.CodeUnavailable, Message: "keys cannot be checked now", Err: err, RetryAfter: time.Second}
	case who.Key.Kind != flags.KeyServer, !hmac.Equal([]byte(id.seal(who.State, who.Key)), []byte(r.PathValue("file"))):
		return gone
	}
	for _, list := range flags.IDLists(who.State, who.Scope) {
		if list.FileID() != id.file {
			continue
		}
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "private, no-cache")
		h.Set("ETag", `"`+list.FileID()+"."+strconv.FormatInt(list.Size(), 10)+`"`)
		parts, asked := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
		if !asked {
			r.Header.Del("Range") // a unit that nobody has to know
		} else if list.Size() > 0 && !satisfiable(parts, list.Size()) {
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(list.Size(), 10))
			return web.Errorf(web.CodeRange, "the file has %d bytes: ask for one range of them, such as bytes=0-", list.Size())
		}
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(list, 0, list.Size()))
		return nil
	}
	return gone
}

// satisfiable reports whether a Range in bytes asks for one part that a file of
// some size has. An answer of several parts no SDK can read, and a short header
// could ask for many.
func satisfiable(parts string, size int64) bool {
	first, last, ok := strings.Cut(parts, "-")
	from, broken := strconv.ParseUint(first, 10, 63)
	to, open := strconv.ParseUint(last, 10, 63)
	switch {
	case !ok, last != "" && open != nil:
		return false
	case first == "": // the last so many
		return to > 0
	}
	return broken == nil && from < uint64(size) && (last == "" || from <= to)
}

// A fileID names the file of a list for one key: SDKs send no key with a
// download, so the name is the leave to read. It holds for as long as the key does
// and is the same on every edge, whenever it was started.
type fileID struct{ project, key, file string }

// seal writes the id with its proof, which only who knows the key's hash can make:
// the nodes that follow the project. Another log in the place of this one has
// other files.
func (f fileID) seal(s *flags.State, k *flags.Key) string {
	text := f.project + "." + f.key + "." + f.file
	mac := hmac.New(sha256.New, []byte(k.Hash))
	_, _ = io.WriteString(mac, "id list file\n"+s.LogID()+"\n"+text) // a hash takes everything
	return text + "." + hex.EncodeToString(mac.Sum(nil)[:16])
}

// parseFileID takes an id apart; whether it was sealed is another question. No
// part has a dot but the file, which has one.
func parseFileID(text string) (fileID, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 5 {
		return fileID{}, false
	}
	return fileID{project: parts[0], key: parts[1], file: parts[2] + "." + parts[3]}, true
}
