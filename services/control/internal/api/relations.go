package api

import (
	"encoding/json"
	"net/http"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// named is an entity as others mention it.
type named struct {
	Kind flags.Kind `json:"kind"`
	ID   string     `json:"id"`
	Name string     `json:"name"`
}

func namesOf(s *flags.State, refs []flags.Ref) []named {
	out := []named{}
	for _, ref := range refs {
		if e, ok := s.Get(ref); ok {
			out = append(out, named{ref.Kind, ref.ID, e.Name})
		}
	}
	return out
}

// references serves what an entity refers to, and what refers to it.
func (a *API) references(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		s, e, err := c.entity(kind)
		if err != nil {
			return err
		}
		return web.Respond(c.w, http.StatusOK, map[string]any{
			"references": namesOf(s, s.References(e.Ref)), "dependents": namesOf(s, s.Dependents(e.Ref)),
		})
	}
}

// version is a document at a point of the log; without one, the entity was not there.
type version struct {
	Sequence uint64          `json:"sequence"` // of the state that it was read from
	Document json.RawMessage `json:"document,omitempty"`
}

// diff serves what became of an entity from one point of the log to another.
func (a *API) diff(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		name, err := c.name()
		if err != nil {
			return err
		}
		now, err := c.newest(c.project)
		if err != nil {
			return err
		}
		ref, ok := findEver(now, kind, name)
		if !ok {
			return web.Errorf(web.CodeNotFound, "there is no %s %q, and never was", kind, name)
		}
		if c.query.Get("from") == "" {
			return web.Invalid("from", "required", "say from which sequence or time on, and to which with to")
		}
		var docs [2]flags.Document
		var versions [2]version
		for i, parameter := range []string{"from", "to"} {
			s, err := c.stateAt(c.project, parameter, now)
			if err != nil {
				return err
			}
			versions[i].Sequence = s.Seq()
			if e, ok := s.Get(ref); ok {
				docs[i] = e.Doc
				if versions[i].Document, err = represent(e); err != nil {
					return err
				}
			}
		}
		operations := flags.Diff(docs[0], docs[1])
		if kind == flags.KindKey {
			operations = withoutHashes(operations)
		}
		if operations == nil {
			operations = []flags.Operation{}
		}
		c.at(now)
		return web.Respond(c.w, http.StatusOK, map[string]any{"from": versions[0], "to": versions[1], "operations": operations})
	}
}
