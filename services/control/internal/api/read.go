package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/project"
)

// patience is how long a reader may wait for a sequence to arrive.
const patience = 5 * time.Second

// state is the state that a read asks for: the newest, one that has come to
// Min-Sequence, or the one of asOf.
func (c *call) state() (*flags.State, error) { return c.stateOf(c.project) }

func (c *call) stateOf(p *project.Project) (*flags.State, error) {
	now, err := c.newest(p)
	if err != nil {
		return nil, err
	}
	s, err := c.stateAt(p, "asOf", now)
	if err != nil {
		return nil, err
	}
	c.at(s)
	if c.query.Get("asOf") == "" {
		return s, nil
	}
	query := url.Values{}
	for name, values := range c.query {
		query[name] = values
	}
	query.Set("asOf", strconv.FormatUint(s.Seq(), 10))
	c.w.Header().Set("Content-Location", c.r.URL.EscapedPath()+"?"+query.Encode())
	return s, nil
}

// stateAt is the state of the point that a parameter names; now if it names none.
func (c *call) stateAt(p *project.Project, parameter string, now *flags.State) (*flags.State, error) {
	at, asked, err := c.point(parameter)
	if err != nil || !asked {
		return now, err
	}
	if at.Seq > now.Seq() {
		if now, err = p.Newest(c.ctx); err != nil {
			return nil, err
		}
	}
	if at.Seq > now.Seq() {
		return nil, web.Invalid(parameter, "out_of_range", "the log ends with sequence %d", now.Seq())
	}
	return p.AsOf(c.ctx, at)
}

// newest is the newest state, once it has come to Min-Sequence.
func (c *call) newest(p *project.Project) (*flags.State, error) {
	text, err := header(c.r, "Min-Sequence")
	if err != nil {
		return nil, err
	}
	if text == "" {
		return p.State(c.ctx)
	}
	least, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, web.Invalid("Min-Sequence", "invalid", "Min-Sequence is a sequence of the log")
	}
	waiting, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	s, err := p.Reach(waiting, least)
	if err != nil && waiting.Err() != nil && c.ctx.Err() == nil {
		return nil, &web.Error{Code: web.CodeUnavailable, Message: "this node has not come to that sequence yet", Err: err, RetryAfter: time.Second}
	}
	return s, err
}

// get serves one entity.
func (a *API) get(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		_, e, err := c.entity(kind)
		if err != nil {
			return err
		}
		return c.show(e)
	}
}

// entity is what the path names, in the state that a read asks for.
func (c *call) entity(kind flags.Kind) (*flags.State, flags.Entity, error) {
	name, err := c.name()
	if err != nil {
		return nil, flags.Entity{}, err
	}
	s, err := c.state()
	if err != nil {
		return nil, flags.Entity{}, err
	}
	e, err := find(s, kind, name)
	return s, e, err
}

func find(s *flags.State, kind flags.Kind, name string) (flags.Entity, error) {
	e, ok := s.Find(kind, name)
	if !ok {
		return flags.Entity{}, web.Errorf(web.CodeNotFound, "there is no %s %q", kind, name)
	}
	return e, nil
}

func (c *call) show(e flags.Entity) error {
	if web.NoneMatch(c.r, etag(e.Seq)) {
		c.w.Header().Set("ETag", etag(e.Seq))
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return c.respond(http.StatusOK, e)
}
