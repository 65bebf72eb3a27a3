package api

import (
	"encoding/hex"
	"encoding/json"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// createKey serves POST of keys: the only answer that ever shows a key. Asked
// again with the same Idempotency-Key, it answers without.
func (a *API) createKey(c *call) error {
	w, err := c.readWrite(true)
	if err != nil {
		return err
	}
	for _, name := range []string{"hash", "hint", "revoked"} {
		if _, given := w.body[name]; given {
			return web.Invalid("/"+name, "unknown", "%s is the server's to set: leave it out", name)
		}
	}
	var kind flags.KeyKind
	if raw, given := w.body["kind"]; given {
		if err := json.Unmarshal(raw, &kind); err != nil {
			return web.Invalid("/kind", "wrong_type", "a key's kind is a text: server, client or console")
		}
	}
	if c.project.ID() == bus.OrgProject && kind != flags.KeyConsole {
		return web.Invalid("/kind", "invalid", "the organisation has console keys only")
	}
	// A kind that is not known is for the validation to name, with all else.
	token, hash := auth.Generate(kind, c.project.ID())
	doc, err := w.document(flags.KindKey, map[string]any{"hash": hex.EncodeToString(hash[:]), "hint": auth.Hint(token)})
	if err != nil {
		return err
	}
	if err := c.mayGrant(nil, doc); err != nil {
		return err
	}
	return c.carryOut(w, command.Create{Doc: doc}, member{"key", token})
}

// mayGrant refuses to make a key that may do more than the caller's.
func (c *call) mayGrant(before, after flags.Document) error {
	for _, scope := range command.Grants(before, after) {
		if !c.may(access(scope)) {
			return &web.Error{Code: web.CodeForbidden, Message: "a key without the scope " + scope + " cannot give it to another, or to itself", Extra: map[string]any{"missing": scope}}
		}
	}
	return nil
}

// granting is an edit that gives no key more than the caller's has.
func (c *call) granting(edit command.Edit) command.Edit {
	return func(current flags.Document, env command.Env) (flags.Document, error) {
		before := flags.Clone(current)
		after, err := edit(current, env)
		if err != nil {
			return nil, err
		}
		return after, c.mayGrant(before, after)
	}
}
