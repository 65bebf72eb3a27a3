package command

import (
	"encoding/json"
	"fmt"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// ChangeIDs changes the members of a segment that is an id list.
type ChangeIDs struct {
	Segment string // its name or its id
	Match   Match  // of the list: see [ListTag]
	Changes *flags.IDChanges
	Replace bool // the added ids become the members, and no others
}

// IDsChange is what a change of an id list came to, as its operation says it.
type IDsChange struct {
	Added     int  `json:"added"`
	Removed   int  `json:"removed"`
	Count     int  `json:"count"` // members after it
	Rewritten bool `json:"rewritten,omitempty"`
}

// The operations on batches of ids: one batch of a commit says what the whole
// commit came to, the others that they belong to it.
const (
	opChangeIDs = "ids.change"
	opCarryIDs  = "ids.carry"
)

// ListOf finds a segment that is an id list.
func ListOf(s *flags.State, segment string) (flags.Entity, *flags.IDList, error) {
	e, err := find(s, flags.KindSegment, segment)
	if err != nil {
		return e, nil, err
	}
	list, ok := s.IDList(e.Ref)
	if !ok {
		return e, nil, refuse(WrongState, flags.Entity{}, "segment %q is described by rules and has no ids: make one of type idList", e.Name)
	}
	return e, list, nil
}

// ListTag is the version of a list that preconditions are about: the sequence of
// the last change of its members or of its segment.
func ListTag(segment flags.Entity, list *flags.IDList) uint64 { return max(segment.Seq, list.Seq()) }

// Decide implements [Command].
func (c ChangeIDs) Decide(s *flags.State, env Env) (Decision, error) {
	segment, list, err := ListOf(s, c.Segment)
	if err != nil {
		return Decision{}, err
	}
	tagged := segment
	tagged.Seq = ListTag(segment, list)
	if err := c.Match.check(tagged); err != nil {
		return Decision{}, err
	}
	decide := list.Edit
	if c.Replace {
		decide = list.Replace
	}
	edit, problems := decide(c.Changes, env.Now.UnixMilli())
	if len(problems) > 0 {
		return Decision{}, problems
	}
	d := Decision{Current: segment, After: segment.Doc}
	for i, b := range edit.Batches {
		if problems := flags.Validate(s, b); len(problems) > 0 {
			return Decision{}, problems
		}
		document, err := flags.Encode(b)
		if err != nil {
			return Decision{}, err
		}
		before, _ := s.Get(b.Ref())
		operation := flags.Operation{Op: opCarryIDs}
		if i == 0 {
			after, err := json.Marshal(IDsChange{edit.Added, edit.Removed, edit.Count, edit.Rewritten})
			if err != nil {
				return Decision{}, fmt.Errorf("describing a change of ids: %w", err)
			}
			operation = flags.Operation{Op: opChangeIDs, After: after}
			d.Ref = b.Ref()
		}
		d.Drafts = append(d.Drafts, events.Draft{
			Kind: flags.KindIDs, Entity: b.ID, Name: b.ID, EntityVersion: before.Version + 1, Created: before.Created,
			Operations: []flags.Operation{operation}, Document: document,
		})
	}
	return d, nil
}

// ReadIDsChange finds what a change of an id list came to among its operations.
func ReadIDsChange(operations []flags.Operation) (c IDsChange, ok bool) {
	for _, o := range operations {
		if o.Op == opChangeIDs && json.Unmarshal(o.After, &c) == nil {
			return c, true
		}
	}
	return c, false
}
