package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/erasure"
)

// Erasures deletes what is stored of units; [erasure.Service] does.
type Erasures interface {
	// Key is the name of a unit in the facts of the state's project.
	Key(ctx context.Context, s *flags.State, unitType, unitID string) (uint64, error)
	// Of tells how far an erasure has come.
	Of(project string, e flags.Entity) erasure.Progress
}

// Erase makes the interface one that erases, by e.
func (a *API) Erase(e Erasures) { a.erasures = e }

// unitRoutes lists the routes of units, under the path of one project.
func (a *API) unitRoutes(one string) []route {
	const unit = "/units/{unitType}/{unitId}"
	return []route{
		{"GET", one + unit, read, nil, a.getErasure},
		{"DELETE", one + unit, edit, nil, a.eraseUnit},
	}
}

// maxUnitID is the longest id of a unit that facts have.
const maxUnitID = 1024

// unit is the name of the unit that the path names, as facts and the log have it.
func (a *API) unit(c *call) (unitType, key string, err error) {
	if a.erasures == nil {
		return "", "", web.Errorf(web.CodeUnavailable, "there is no warehouse here that anything could be erased from")
	}
	if err := has(c.project, flags.KindErasure); err != nil {
		return "", "", err
	}
	unitType, id := flags.CanonicalUnitType(c.r.PathValue("unitType")), c.r.PathValue("unitId")
	if id == "" || len(id) > maxUnitID {
		return "", "", web.Invalid("unitId", "invalid", "a unit's id has 1 to %d bytes", maxUnitID)
	}
	s, err := c.project.State(c.ctx)
	if err != nil {
		return "", "", err
	}
	sum, err := a.erasures.Key(c.ctx, s, unitType, id)
	if err != nil {
		return "", "", &web.Error{Code: web.CodeUnavailable, Message: "the key that hashes the project's ids cannot be read just now", Err: err}
	}
	return unitType, fmt.Sprintf("%016x", sum), nil
}

// eraseUnit serves DELETE of a unit: it writes the wish into the log and answers
// with the operation that fulfils it. Asked again, it erases what has come since.
func (a *API) eraseUnit(c *call) error {
	unitType, key, err := a.unit(c)
	if err != nil {
		return err
	}
	w, err := c.readWrite(false)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte("erase\n" + key)) // not of the path, which has the id
	w.digest = hex.EncodeToString(sum[:])
	cmd := command.Erase{UnitType: unitType, UnitKey: key}
	out, err := c.project.Do(c.ctx, c.request(w, cmd))
	if err != nil {
		return c.refused(w, cmd, err)
	}
	c.sequence(out.Receipt.Last.Seq)
	if out.Receipt.Replayed {
		c.w.Header().Set("Idempotency-Replayed", "true")
	}
	s, err := c.project.State(c.ctx)
	if err != nil {
		return err
	}
	return a.tellErasure(c, s, key, http.StatusAccepted)
}

// getErasure serves what became of the erasure of a unit.
func (a *API) getErasure(c *call) error {
	_, key, err := a.unit(c)
	if err != nil {
		return err
	}
	s, err := c.state()
	if err != nil {
		return err
	}
	return a.tellErasure(c, s, key, http.StatusOK)
}

// tellErasure answers with the erasure of a unit as an operation.
func (a *API) tellErasure(c *call, s *flags.State, nameOrID string, status int) error {
	e, ok := s.Find(flags.KindErasure, nameOrID)
	if !ok {
		return web.Errorf(web.CodeNotFound, "nobody has asked to erase this unit")
	}
	op := a.erasureOf(s.Project(), e)
	if op.Status == erasureRunning {
		c.w.Header().Set("Retry-After", "1")
	}
	if status == http.StatusAccepted {
		c.w.Header().Set("Location", "/api/v1/operations/"+op.ID)
	}
	return web.Respond(c.w, status, op)
}

// The statuses of an erasure: it is tried until it is done.
const (
	erasureRunning = "running"
	erasureDone    = "done"
)

// An erasureOperation is an erasure as callers see it: an operation that outlives
// the process, and that is never forgotten.
type erasureOperation struct {
	ID       string  `json:"id"`
	Project  string  `json:"project"`
	Status   string  `json:"status"`
	Started  string  `json:"startedAt"`
	Progress float64 `json:"progress"`
	Steps    int     `json:"steps"`
	Done     int     `json:"stepsDone"`
	Problem  string  `json:"problem,omitempty"` // why the last attempt ended, which is tried again, or what this one waits for
}

func (a *API) erasureOf(project string, e flags.Entity) erasureOperation {
	p := a.erasures.Of(project, e)
	op := erasureOperation{ID: e.Ref.ID, Project: project, Status: erasureRunning, Started: timestamp(e.Time), Steps: p.Total, Done: p.Done, Problem: p.Problem}
	if p.Finished {
		op.Status = erasureDone
	}
	if p.Total > 0 {
		op.Progress = float64(p.Done) / float64(p.Total)
	}
	return op
}

// getErasureByID serves the operation of an erasure, of any project that the
// caller may see.
func (a *API) getErasureByID(c *call) error {
	visible := []string{c.who.Project}
	if c.who.Admin() {
		org, err := a.projects.Get(c.ctx, c.who.Project)
		if err != nil {
			return err
		}
		s, err := org.State(c.ctx)
		if err != nil {
			return err
		}
		visible = visible[:0]
		for e := range s.All(flags.KindProject) {
			visible = append(visible, e.Name)
		}
	}
	for _, name := range visible {
		p, err := a.projects.Get(c.ctx, name)
		if err != nil {
			return err
		}
		s, err := p.State(c.ctx)
		if err != nil {
			return err
		}
		if _, ok := s.Get(flags.Ref{Kind: flags.KindErasure, ID: c.r.PathValue("id")}); ok && a.erasures != nil {
			return a.tellErasure(c, s, c.r.PathValue("id"), http.StatusOK)
		}
	}
	return web.Errorf(web.CodeNotFound, "there is no such operation here")
}
