package sluice

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A keptList is an id list as a store keeps it: what its file said up to a byte,
// so that a later client reads on from there.
type keptList struct {
	FileID       string `json:"fileID"`
	CreationTime int64  `json:"creationTime"`
	Read         int64  `json:"read"`
	Members      string `json:"members"` // hashWidth characters each
}

// hashWidth is how many characters of a unit's hash stand in a list.
const hashWidth = idLineWidth - 2

// snapshot is the lists as they are. Members are never changed, so that they may
// be written down later.
func (l *idLists) snapshot() map[string]idFile {
	out := make(map[string]idFile, len(l.files))
	for name, f := range l.files {
		out[name] = *f
	}
	return out
}

// encodeLists writes lists for a store; equal lists have equal texts.
func encodeLists(files map[string]idFile) ([]byte, error) {
	out := make(map[string]keptList, len(files))
	for name, f := range files {
		hashes := slices.Sorted(f.members.All)
		out[name] = keptList{FileID: f.id, CreationTime: f.created, Read: f.read, Members: strings.Join(hashes, "")}
	}
	return json.Marshal(out)
}

// decodeLists reads what [encodeLists] wrote.
func decodeLists(text []byte) (map[string]*idFile, error) {
	var kept map[string]keptList
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, err
	}
	out := make(map[string]*idFile, len(kept))
	for name, k := range kept {
		if len(k.Members)%hashWidth != 0 || k.Read < 0 || k.Read%idLineWidth != 0 || k.FileID == "" {
			return nil, fmt.Errorf("id list %s: %w", name, errOddList)
		}
		members := new(eval.IDList).Edit(len(k.Members)/hashWidth, func(yield func(string, bool) bool) {
			for rest := k.Members; rest != ""; rest = rest[hashWidth:] {
				yield(rest[:hashWidth], true)
			}
		})
		out[name] = &idFile{id: k.FileID, created: k.CreationTime, read: k.Read, members: members}
	}
	return out, nil
}

var errOddList = errors.New("not as it was written")

// membersOf are the members of files.
func membersOf(files map[string]*idFile) map[string]*eval.IDList {
	out := make(map[string]*eval.IDList, len(files))
	for name, f := range files {
		out[name] = f.members
	}
	return out
}
