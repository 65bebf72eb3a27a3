package api

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// create serves POST of a collection.
func (a *API) create(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		if err := has(c.project, kind); err != nil {
			return err
		}
		w, err := c.readWrite(true)
		if err != nil {
			return err
		}
		doc, err := w.document(kind, nil)
		if err != nil {
			return err
		}
		return c.carryOut(w, command.Create{Doc: doc})
	}
}

// replace serves PUT: of what is there under If-Match, or of what is not there
// yet under If-None-Match: *.
func (a *API) replace(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		if err := has(c.project, kind); err != nil {
			return err
		}
		name, err := c.name()
		if err != nil {
			return err
		}
		fresh, err := c.createOnly()
		if err != nil {
			return err
		}
		match, err := c.match()
		if err != nil {
			return err
		}
		w, err := c.readWrite(true)
		if err != nil {
			return err
		}
		if fresh && kind == flags.KindKey {
			return web.Errorf(web.CodeMethodNotAllowed, "keys are made by POST: it shows the key, once")
		}
		if !fresh {
			return c.carryOut(w, c.replacing(kind, name, match, w))
		}
		if match != (command.Match{}) {
			return web.Invalid("If-None-Match", "invalid", "send If-Match to replace or If-None-Match to create, not both")
		}
		doc, err := w.document(kind, map[string]any{"name": name})
		if err != nil {
			return err
		}
		if !strings.EqualFold(doc.DocName(), name) {
			return web.Invalid("/name", "invalid", "the path says %q", name)
		}
		return c.carryOut(w, command.CreateOnly{Create: command.Create{Doc: doc}})
	}
}

// replacing is the command that makes an entity into the body. The body is read
// against the entity that is there: what it may leave out comes from there.
func (c *call) replacing(kind flags.Kind, name string, match command.Match, w write) command.Command {
	return command.Change{Kind: kind, Name: name, Match: match, Edit: c.granting(func(current flags.Document, _ command.Env) (flags.Document, error) {
		set := map[string]any{"id": current.Ref().ID, "name": current.DocName()}
		if k, ok := current.(*flags.Key); ok {
			set["kind"], set["hash"], set["hint"] = k.Kind, k.Hash, k.Hint
		}
		return w.document(kind, set)
	})}
}

// patch serves PATCH with a merge patch (RFC 7396).
func (a *API) patch(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		name, err := c.name()
		if err != nil {
			return err
		}
		return c.patchNamed(kind, name)
	}
}

func (c *call) patchNamed(kind flags.Kind, name string) error {
	match, err := c.match()
	if err != nil {
		return err
	}
	w, err := c.readWrite(true)
	if err != nil {
		return err
	}
	for _, name := range readOnly {
		delete(w.body, name)
	}
	patch, err := object(w.body)
	if err != nil {
		return err
	}
	return c.carryOut(w, command.Change{Kind: kind, Name: name, Match: match, Edit: c.granting(command.Patch(patch))})
}

// readAimed reads what writes to one entity have in common: its name, the version
// that it has to have, and the rest.
func (c *call) readAimed(bodyNeeded bool) (name string, match command.Match, w write, err error) {
	if name, err = c.name(); err != nil {
		return name, match, w, err
	}
	if match, err = c.match(); err != nil {
		return name, match, w, err
	}
	w, err = c.readWrite(bodyNeeded)
	return name, match, w, err
}

// remove serves DELETE.
func (a *API) remove(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		name, match, w, err := c.readAimed(false)
		if err != nil {
			return err
		}
		if err := onlyMembers(w.body); err != nil {
			return err
		}
		return c.carryOut(w, command.Delete{Kind: kind, Name: name, Match: match, Confirm: c.query.Get("confirm")})
	}
}

func onlyMembers(body map[string]json.RawMessage, known ...string) error {
	for name := range body {
		if !slices.Contains(known, name) {
			return web.Invalid("/"+clip(name), "unknown", "there is no member of this name here")
		}
	}
	return nil
}

// act serves POST of an action.
func (a *API) act(kind flags.Kind, action string) func(*call) error {
	return func(c *call) error {
		name, match, w, err := c.readAimed(false)
		if err != nil {
			return err
		}
		var p command.Parameters
		raw, err := object(w.body)
		if err != nil {
			return err
		}
		known, _ := command.ActionOf(kind, action)
		if err := onlyMembers(w.body, known.Takes...); err != nil {
			return err
		}
		if err := web.DecodeJSON(raw, &p, web.Limits{}); err != nil {
			return err
		}
		return c.carryOut(w, command.Act{Kind: kind, Name: name, Action: action, Match: match, Parameters: p})
	}
}
