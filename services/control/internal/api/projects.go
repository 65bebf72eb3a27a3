package api

import (
	"fmt"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/project"
)

// listProjects serves the organisation's list; a project's own key sees itself.
func (a *API) listProjects(c *call) error {
	org, err := a.projects.Get(c.ctx, bus.OrgProject)
	if err != nil {
		return err
	}
	return c.listIn(org, flags.KindProject, func(e flags.Entity) bool {
		return c.who.Admin() || e.Name == c.who.Project
	})
}

// createProject serves POST of projects: it makes the log, writes what a project
// begins with, and enrolls it. Each step may have been done by an attempt that
// died, so each can be repeated; the last one is what makes the project known,
// and what a second POST finds taken.
func (a *API) createProject(c *call) error {
	w, err := c.readWrite(true)
	if err != nil {
		return err
	}
	parsed, err := w.document(flags.KindProject, nil)
	if err != nil {
		return err
	}
	doc := parsed.(*flags.Project)
	if doc.ID != "" {
		return web.Invalid("/id", flags.CodeImmutable, "an id is given by the server: leave it out")
	}
	if !bus.ValidProject(doc.Name) || doc.Name == bus.OrgProject {
		return web.Invalid("/name", "name", "a project's name has up to 32 lower-case letters, digits and _, and begins with a letter; displayName may say more")
	}
	org, err := a.projects.Get(c.ctx, bus.OrgProject)
	if err != nil {
		return err
	}
	enroll := command.Enroll{Doc: doc}
	c.project = org
	if w.dry {
		return c.tryOut(enroll, enroll)
	}
	if !w.repeat {
		// Refuse early what will be refused; a repeated request may be the one
		// that enrolled the project, and is answered by the log.
		if _, _, err := org.Try(c.ctx, enroll); err != nil {
			return c.refused(w, enroll, err)
		}
	}
	if err := a.found(c, w, doc); err != nil {
		return err
	}
	return c.carryOut(w, enroll)
}

// found makes sure that a project's log is there and begun.
func (a *API) found(c *call, w write, doc *flags.Project) error {
	if err := a.projects.Provision(c.ctx, doc.Name); err != nil {
		return fmt.Errorf("making the log of project %s: %w", doc.Name, err)
	}
	p, err := a.projects.Get(c.ctx, doc.Name)
	if err != nil {
		return err
	}
	request := c.request(w, command.Found{Doc: doc})
	request.Repeat = false // a project that has begun is left as it is
	_, err = p.Do(c.ctx, request)
	return err
}

// getProject serves a project's settings.
func (a *API) getProject(c *call) error {
	s, err := c.state()
	if err != nil {
		return err
	}
	e, err := find(s, flags.KindProject, settings(c.project))
	if err != nil {
		return err
	}
	return c.show(e)
}

// replaceProject serves PUT of a project's settings.
func (a *API) replaceProject(c *call) error {
	match, err := c.match()
	if err != nil {
		return err
	}
	if fresh, err := c.createOnly(); err != nil || fresh {
		return web.Errorf(web.CodeMethodNotAllowed, "projects are made by POST of %s", "/api/v1/projects")
	}
	w, err := c.readWrite(true)
	if err != nil {
		return err
	}
	return c.carryOut(w, c.replacing(flags.KindProject, settings(c.project), match, w))
}

// patchProject serves PATCH of a project's settings.
func (a *API) patchProject(c *call) error {
	return c.patchNamed(flags.KindProject, settings(c.project))
}

// settings is the id of a project's settings.
func settings(p *project.Project) string { return command.ProjectRef(p.ID()).ID }
