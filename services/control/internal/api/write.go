package api

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/project"
)

// write is one write on its way: what the request said beside its command.
type write struct {
	key    string // idempotency key, the caller's or ours
	repeat bool   // the key is the caller's: it may have been sent before
	digest string // of the request
	reason string
	dry    bool
	strict bool                       // refuse what has warnings
	merge  bool                       // go on where others have changed something else
	body   map[string]json.RawMessage // the body's members, without reason
}

// readWrite reads everything that writes have in common. The body is an object,
// or nothing where that will do.
func (c *call) readWrite(bodyNeeded bool) (w write, err error) {
	if w, err = c.writeHead(); err != nil {
		return w, err
	}
	raw, err := web.ReadBody(c.r, web.Limits{})
	if err != nil {
		return w, err
	}
	sum := c.digest()
	_, _ = sum.Write(raw) // a hash takes everything
	w.digest = hex.EncodeToString(sum.Sum(nil))
	if len(bytes.TrimSpace(raw)) == 0 && !bodyNeeded {
		w.body = map[string]json.RawMessage{}
		return w, c.needReason(w)
	}
	if err := web.OnlyJSON(c.r.Header.Get("Content-Type")); err != nil {
		return w, err
	}
	if err := web.DecodeJSON(raw, &w.body, web.Limits{CaseVariants: true}); err != nil {
		return w, err
	}
	if w.body == nil {
		return w, web.Invalid("", "wrong_type", "the body is a JSON object")
	}
	if said, ok := w.body["reason"]; ok {
		delete(w.body, "reason")
		if err := json.Unmarshal(said, &w.reason); err != nil {
			return w, web.Invalid("/reason", "wrong_type", "a reason is a text")
		}
		if err := checkReason("/reason", w.reason); err != nil {
			return w, err
		}
	}
	return w, c.needReason(w)
}

// writeHead reads what a write says outside its body.
func (c *call) writeHead() (w write, err error) {
	if w.key, err = c.idempotencyKey(); err != nil {
		return w, err
	}
	w.repeat = w.key != ""
	w.key = cmp.Or(w.key, rand.Text())
	if w.reason, err = c.reason(); err != nil {
		return w, err
	}
	if w.dry, err = c.flag("dryRun"); err != nil {
		return w, err
	}
	if w.strict, err = c.flag("strict"); err != nil {
		return w, err
	}
	switch c.query.Get("merge") {
	case "":
	case "auto":
		w.merge = true
	default:
		return w, web.Invalid("merge", "invalid", "merge is auto, or left out")
	}
	return w, nil
}

// needReason holds a project to its own rule that changes say why.
func (c *call) needReason(w write) error {
	if w.reason != "" || c.project == nil {
		return nil
	}
	s, err := c.project.State(c.ctx)
	if err != nil {
		return err
	}
	if e, ok := s.Get(command.ProjectRef(c.project.ID())); ok && e.Doc.(*flags.Project).ReasonRequired {
		return web.Invalid("/reason", "required", "this project wants to know why: send reason in the body, or Change-Reason")
	}
	return nil
}

// document reads the body as a document. Set gives members that the path or the
// server decides; a body may repeat them but not contradict.
func (w write) document(kind flags.Kind, set map[string]any) (flags.Document, error) {
	members := make(map[string]json.RawMessage, len(w.body))
	for name, value := range w.body {
		if !slices.Contains(readOnly, name) {
			members[name] = value
		}
	}
	for name, value := range set {
		if _, given := members[name]; given {
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		members[name] = raw
	}
	raw, err := object(members)
	if err != nil {
		return nil, err
	}
	return flags.Decode(kind, raw)
}

// object writes members as one JSON object, their values as they are.
func object(members map[string]json.RawMessage) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(members)
	return b.Bytes(), err
}

// request is the request that a command is recorded with.
func (c *call) request(w write, cmd command.Command) project.Request {
	// Whose key it is belongs to the id: nobody learns about another's requests.
	sum := sha256.Sum256([]byte(c.who.Project + "\n" + c.who.Key.ID + "\n" + w.key))
	return project.Request{
		ID: "cmd_" + hex.EncodeToString(sum[:20]), Digest: w.digest, Repeat: w.repeat,
		Actor:  events.Actor{Kind: "key", ID: c.who.Key.ID, Name: c.who.Key.Name},
		Reason: w.reason, Command: cmd,
	}
}

// carryOut decides a command, writes what it comes to and answers; or only says
// what it would come to.
func (c *call) carryOut(w write, cmd command.Command, extra ...member) error {
	decided, err := c.asWanted(w, cmd)
	if err != nil {
		return err
	}
	if w.dry {
		return c.tryOut(cmd, decided)
	}
	out, err := c.project.Do(c.ctx, c.request(w, decided))
	if err != nil {
		return c.refused(w, cmd, err)
	}
	c.sequence(out.Receipt.Last.Seq)
	if len(out.Receipt.Envelopes) == 0 {
		return c.respond(http.StatusOK, out.Decision.Current, warned(out.Decision.Current.Doc, member{"noop", true})...)
	}
	e, err := entityOf(out.Receipt.Envelopes[0])
	if err != nil {
		return err
	}
	status := http.StatusOK
	if e.Version == 1 {
		status = http.StatusCreated
		if c.r.Method == http.MethodPost {
			c.w.Header().Set("Location", c.r.URL.EscapedPath()+"/"+e.Ref.ID)
		}
	}
	if out.Receipt.Replayed {
		c.w.Header().Set("Idempotency-Replayed", "true")
		extra = nil // what is shown once is not shown again
	}
	if e.Deleted {
		return c.gone(e)
	}
	return c.respond(status, e, warned(e.Doc, extra...)...)
}

// asWanted is a command as its request wants it decided.
func (c *call) asWanted(w write, cmd command.Command) (decided command.Command, err error) {
	decided = cmd
	if w.merge {
		if decided, err = c.merging(cmd); err != nil {
			return nil, err
		}
	}
	if w.strict {
		decided = command.Strict{Command: decided}
	}
	return decided, nil
}

// warned adds a document's warnings, if it has any, to an answer.
func warned(doc flags.Document, extra ...member) []member {
	if warnings := command.Warnings(doc); len(warnings) > 0 {
		extra = append(extra, member{"warnings", warnings})
	}
	return extra
}

// tryOut answers what a command, decided as its request wants, would come to.
func (c *call) tryOut(cmd, decided command.Command) error {
	d, s, err := c.project.Try(c.ctx, decided)
	if err != nil {
		return c.refused(write{}, cmd, err)
	}
	c.at(s)
	var diff struct {
		Before json.RawMessage `json:"before,omitempty"`
		After  json.RawMessage `json:"after,omitempty"`
	}
	if d.Current.Doc != nil {
		if diff.Before, err = represent(d.Current); err != nil {
			return err
		}
	}
	if d.After != nil {
		after := d.Current
		after.Ref, after.Doc, after.Version = d.Ref, d.After, d.Current.Version+1
		if d.Noop() {
			after.Version = d.Current.Version
		}
		if diff.After, err = represent(after); err != nil {
			return err
		}
	}
	return web.Respond(c.w, http.StatusOK, map[string]any{
		"wouldCommit": !d.Noop(), "diff": diff, "operations": d.Operations(), "warnings": command.Warnings(d.After),
	})
}

// refused explains why a command was not carried out.
func (c *call) refused(w write, cmd command.Command, err error) error {
	if r, ok := errors.AsType[*command.Refusal](err); ok && r.Reason == command.Stale {
		return c.stale(cmd, r)
	}
	e, ok := errors.AsType[*web.Error](explain(err))
	if !ok {
		return err
	}
	if e.Code == web.CodeOutcomeUnknown && e.Extra != nil {
		e.Extra["idempotencyKey"] = w.key
	}
	return e
}
