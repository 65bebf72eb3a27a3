package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// change is one envelope as people read it.
type change struct {
	Sequence   uint64            `json:"sequence"`
	Time       string            `json:"time"`
	Actor      events.Actor      `json:"actor"`
	Reason     string            `json:"reason,omitempty"`
	Cause      string            `json:"cause,omitempty"`
	CommandID  string            `json:"commandId"`
	Commit     events.Commit     `json:"commit"`
	Kind       flags.Kind        `json:"kind"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Version    uint64            `json:"version"`
	Deleted    bool              `json:"deleted,omitempty"`
	Operations []flags.Operation `json:"operations"`
	Document   json.RawMessage   `json:"document,omitempty"`
	Prev       string            `json:"prev,omitempty"`
	Hash       string            `json:"hash"`
}

func changeOf(e events.Envelope) change {
	ch := change{
		Sequence: e.Seq, Time: timestamp(e.Time), Actor: e.Actor, Reason: e.Reason, Cause: e.Cause,
		CommandID: e.CommandID, Commit: e.Commit, Kind: e.Kind, ID: e.Entity, Name: nameOf(e), Version: e.EntityVersion,
		Deleted: e.Deleted(), Operations: e.Operations, Hash: e.Hash.String(),
	}
	if ch.Kind == flags.KindKey {
		ch.Operations = withoutHashes(ch.Operations)
	}
	if ch.Operations == nil {
		ch.Operations = []flags.Operation{}
	}
	return ch
}

// withoutHashes are operations on a key with what people may read of it. A key
// keeps its hash, so only its making and its deletion hold one.
func withoutHashes(operations []flags.Operation) []flags.Operation {
	shown := func(raw json.RawMessage) json.RawMessage {
		if raw == nil {
			return nil
		}
		doc, err := flags.Load(flags.KindKey, raw)
		if err != nil {
			return nil // a document beyond this version: better nothing of it
		}
		raw, _ = encode(doc) // it was read from JSON
		return raw
	}
	out := slices.Clone(operations)
	for i := range out {
		if op := &out[i]; op.Path == "" {
			op.Before, op.After = shown(op.Before), shown(op.After)
		}
	}
	return out
}

// conceal leaves out what the caller could not read of a key elsewhere either.
func (c *call) conceal(ch *change) {
	if ch.Kind == flags.KindKey && !c.may(edit) {
		ch.Operations, ch.Document = []flags.Operation{}, nil
	}
}

// nameOf is the name of what a change is about: a deletion says it itself, all
// else has it in its document.
func nameOf(e events.Envelope) string {
	if e.Deleted() {
		return e.Name
	}
	if e.Kind == flags.KindIDs {
		return e.Entity
	}
	var doc struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(e.Document, &doc); err != nil {
		return "" // a document beyond this version: its id has to do
	}
	return doc.Name
}

func changesOf(envelopes []events.Envelope) []change {
	out := []change{}
	for _, e := range envelopes {
		out = append(out, changeOf(e))
	}
	return out
}

// whole is a change with the document that came of it.
func whole(e events.Envelope) (change, error) {
	ch := changeOf(e)
	ch.Prev = e.Prev.String()
	entity, err := entityOf(e)
	if err != nil || entity.Deleted {
		return ch, err
	}
	ch.Document, err = represent(entity)
	return ch, err
}

// history serves the changes of one entity, newest first.
func (a *API) history(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		name, err := c.name()
		if err != nil {
			return err
		}
		limit, err := c.number("limit", 1, 200, 50)
		if err != nil {
			return err
		}
		before, err := c.number("before", 1, 1<<63, 1<<63)
		if err != nil {
			return err
		}
		s, err := c.newest(c.project)
		if err != nil {
			return err
		}
		c.at(s)
		ref, ok := findEver(s, kind, name)
		if !ok {
			return web.Errorf(web.CodeNotFound, "there is no %s %q, and never was", kind, name)
		}
		items, more := []change{}, false
		for e, err := range c.project.History(c.ctx, ref) {
			if err != nil {
				return err
			}
			if e.Seq >= before {
				break
			}
			if len(items) == int(limit) {
				items, more = items[1:], true
			}
			one, err := whole(e)
			if err != nil {
				return err
			}
			items = append(items, one)
		}
		slices.Reverse(items)
		answer := map[string]any{"items": items}
		if more {
			answer["nextBefore"] = items[len(items)-1].Sequence
		}
		return web.Respond(c.w, http.StatusOK, answer)
	}
}

// findEver finds an entity that is there, or was.
func findEver(s *flags.State, kind flags.Kind, name string) (flags.Ref, bool) {
	if e, ok := s.Find(kind, name); ok {
		return e.Ref, true
	}
	for e := range s.Entities() {
		if e.Deleted && e.Ref.Kind == kind && (e.Ref.ID == name || strings.EqualFold(e.Name, name)) {
			return e.Ref, true
		}
	}
	return flags.Ref{}, false
}

// listChanges serves the log of a project, oldest first.
func (a *API) listChanges(c *call) error {
	since, err := c.number("since", 0, 1<<63, 0)
	if err != nil {
		return err
	}
	limit, err := c.number("limit", 1, 200, 50)
	if err != nil {
		return err
	}
	until, err := c.number("until", 1, 1<<63, 1<<63)
	if err != nil {
		return err
	}
	kinds := c.query["kind"]
	for _, k := range kinds {
		if !flags.Kind(k).Known() {
			return web.Invalid("kind", "invalid", "there is no such kind")
		}
	}
	s, err := c.newest(c.project)
	if err != nil {
		return err
	}
	c.at(s)
	items, last, more := []change{}, since, false
	for e, err := range c.project.Read(c.ctx, since+1) {
		if err != nil {
			return err
		}
		if e.Seq > until {
			break
		}
		if len(items) == int(limit) {
			more = true
			break
		}
		last = e.Seq
		if len(kinds) == 0 || slices.Contains(kinds, string(e.Kind)) {
			ch := changeOf(e)
			c.conceal(&ch)
			items = append(items, ch)
		}
	}
	answer := map[string]any{"items": items, "last": last}
	if more {
		query := c.r.URL.Query()
		query.Set("since", seqText(last))
		c.w.Header().Set("Link", "<"+c.r.URL.EscapedPath()+"?"+query.Encode()+`>; rel="next"`)
		answer["nextSince"] = last
	}
	return web.Respond(c.w, http.StatusOK, answer)
}

// getChange serves one change of the log with everything that is recorded of it.
func (a *API) getChange(c *call) error {
	seq, ok := parseTag(`"` + c.r.PathValue("sequence") + `"`)
	if !ok || seq == 0 {
		return web.Invalid("sequence", "invalid", "a change is named by its sequence")
	}
	s, err := c.project.Newest(c.ctx)
	if err != nil {
		return err
	}
	c.at(s)
	if seq > s.Seq() {
		return web.Errorf(web.CodeNotFound, "the log ends with sequence %d", s.Seq())
	}
	for e, err := range c.project.Read(c.ctx, seq) {
		if err != nil {
			return err
		}
		one, err := whole(e)
		if err != nil {
			return err
		}
		c.conceal(&one)
		return web.Respond(c.w, http.StatusOK, one)
	}
	return web.Errorf(web.CodeNotFound, "there is no change %d", seq)
}
