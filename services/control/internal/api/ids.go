package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// listAnswer is what can be told of an id list. Its members cannot: only their
// hashes are kept.
type listAnswer struct {
	Segment  string `json:"segment"` // id
	Name     string `json:"name"`
	UnitType string `json:"unitType"`
	Count    int    `json:"count"`
	Batches  int    `json:"batches"`
	Sequence uint64 `json:"sequence"` // of the last change of the list or its segment

	ID     string `json:"id,omitempty"` // that was looked up
	Member *bool  `json:"member,omitempty"`

	*command.IDsChange      // of a write
	Noop               bool `json:"noop,omitempty"`
}

func answerOf(segment flags.Entity, list *flags.IDList) listAnswer {
	return listAnswer{
		Segment: segment.Ref.ID, Name: segment.Name, UnitType: segment.Doc.(*flags.Segment).UnitType,
		Count: list.Members().Len(), Batches: list.Batches(), Sequence: command.ListTag(segment, list),
	}
}

// getIDs serves how many ids a list has, and whether one of them is id.
func (a *API) getIDs(c *call) error {
	name, err := c.name()
	if err != nil {
		return err
	}
	s, err := c.state()
	if err != nil {
		return err
	}
	segment, list, err := command.ListOf(s, name)
	if err != nil {
		return err
	}
	answer := answerOf(segment, list)
	if c.query.Has("id") {
		answer.ID = c.query.Get("id")
		if !flags.ValidUnitID(answer.ID) {
			return web.Invalid("id", "invalid", "an id has 1 to 1024 bytes")
		}
		answer.Member = new(list.Has(answer.ID))
	}
	c.w.Header().Set("ETag", etag(answer.Sequence))
	if !c.query.Has("id") && web.NoneMatch(c.r, etag(answer.Sequence)) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return web.Respond(c.w, http.StatusOK, answer)
}

// writeIDs serves PATCH, which adds and removes ids, and PUT, which replaces them.
func (a *API) writeIDs(replace bool) func(*call) error {
	return func(c *call) error {
		name, err := c.name()
		if err != nil {
			return err
		}
		match, err := c.match()
		if err != nil {
			return err
		}
		w, err := c.writeHead()
		if err != nil {
			return err
		}
		s, err := c.project.State(c.ctx)
		if err != nil {
			return err
		}
		segment, _, err := command.ListOf(s, name)
		if err != nil {
			return err // before a long body is read in vain
		}
		changes, err := c.idChanges(&w, replace, segment.Doc.(*flags.Segment).UnitType)
		if err != nil {
			return err
		}
		if err := c.needReason(w); err != nil {
			return err
		}
		return c.carryOutIDs(w, command.ChangeIDs{Segment: name, Match: match, Changes: changes, Replace: replace})
	}
}

// carryOutIDs is [call.carryOut] for a list, which has no document of its own.
func (c *call) carryOutIDs(w write, cmd command.ChangeIDs) error {
	if w.dry {
		return c.tryOutIDs(cmd)
	}
	out, err := c.project.Do(c.ctx, c.request(w, cmd))
	if err != nil {
		return c.refusedIDs(w, cmd, err)
	}
	c.sequence(out.Receipt.Last.Seq)
	segment, list, err := command.ListOf(out.State, cmd.Segment)
	if err != nil {
		return err
	}
	answer := answerOf(segment, list)
	var done command.IDsChange
	answer.Noop = len(out.Receipt.Envelopes) == 0
	for _, e := range out.Receipt.Envelopes {
		if change, ok := command.ReadIDsChange(e.Operations); ok {
			done, answer.Count = change, change.Count
		}
	}
	answer.IDsChange = &done
	if !answer.Noop {
		answer.Sequence = out.Receipt.Last.Seq
	}
	if out.Receipt.Replayed {
		c.w.Header().Set("Idempotency-Replayed", "true")
	}
	c.w.Header().Set("ETag", etag(answer.Sequence))
	return web.Respond(c.w, http.StatusOK, answer)
}

func (c *call) tryOutIDs(cmd command.ChangeIDs) error {
	d, s, err := c.project.Try(c.ctx, cmd)
	if err != nil {
		return c.refusedIDs(write{}, cmd, err)
	}
	c.at(s)
	segment, list, err := command.ListOf(s, cmd.Segment)
	if err != nil {
		return err
	}
	before := answerOf(segment, list)
	after := before
	if change, ok := command.ReadIDsChange(d.Operations()); ok {
		after.Count = change.Count
	}
	return web.Respond(c.w, http.StatusOK, map[string]any{
		"wouldCommit": !d.Noop(), "diff": map[string]any{"before": before, "after": after},
		"operations": d.Operations(), "warnings": flags.Problems{},
	})
}

// refusedIDs explains why a list was not changed. A stale caller learns how the
// list stands and what became of it since.
func (c *call) refusedIDs(w write, cmd command.ChangeIDs, err error) error {
	r, ok := errors.AsType[*command.Refusal](err)
	if !ok || r.Reason != command.Stale {
		return c.refused(w, cmd, err)
	}
	s, err := c.project.State(c.ctx)
	if err != nil {
		return err
	}
	segment, list, err := command.ListOf(s, cmd.Segment)
	if err != nil {
		return err
	}
	since := []change{}
	const far = 1000 // changes of the project that are looked through
	for e, err := range c.project.Read(c.ctx, cmd.Match.Seq+1) {
		if err != nil {
			return err
		}
		ours := e.Ref() == segment.Ref || e.Kind == flags.KindIDs && strings.HasPrefix(e.Entity, segment.Ref.ID+".")
		if ours {
			since = append(since, changeOf(e))
		}
		if len(since) == maxNews || e.Seq > cmd.Match.Seq+far {
			break
		}
	}
	current, err := json.Marshal(answerOf(segment, list))
	if err != nil {
		return err
	}
	c.sequence(s.Seq())
	return &web.Error{Code: web.CodeStale, Message: r.Message, Extra: map[string]any{"current": json.RawMessage(current), "changesSince": since}}
}
