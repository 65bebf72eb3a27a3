package api

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/project"
)

// page is the answer to a list.
type page struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor string            `json:"nextCursor,omitempty"`
	AsOf       uint64            `json:"asOf"`
	Total      *int              `json:"total,omitempty"`
}

// cursor is where a list goes on: behind an entity, in the state that the first
// page was read from, so that no item is missed or doubled while others write.
type cursor struct {
	Seq   uint64 `json:"s"`
	After string `json:"a"` // id
}

func (c cursor) encode() string {
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err) // a number and a text
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func decodeCursor(text string) (cursor, error) {
	var c cursor
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) > 256 || json.Unmarshal(raw, &c) != nil || c.Seq == 0 || c.After == "" {
		return cursor{}, web.Invalid("cursor", "invalid", "the cursor is not one that a page gave")
	}
	return c, nil
}

// list serves a collection of a project.
func (a *API) list(kind flags.Kind) func(*call) error {
	return func(c *call) error { return c.listIn(c.project, kind, func(flags.Entity) bool { return true }) }
}

// listIn lists the entities of a kind that the caller may see.
func (c *call) listIn(p *project.Project, kind flags.Kind, visible func(flags.Entity) bool) error {
	limit, err := c.number("limit", 1, 200, 50)
	if err != nil {
		return err
	}
	total, err := c.flag("total")
	if err != nil {
		return err
	}
	order, err := c.order()
	if err != nil {
		return err
	}
	s, after, err := c.pageOf(p)
	if err != nil {
		return err
	}

	var all []flags.Entity
	for e := range s.All(kind) {
		if visible(e) && c.wanted(e) {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, order)
	count := len(all)
	if after != "" {
		i := slices.IndexFunc(all, func(e flags.Entity) bool { return e.Ref.ID == after })
		if i < 0 {
			return web.Invalid("cursor", "invalid", "the cursor belongs to another list")
		}
		all = all[i+1:]
	}
	answer := page{Items: []json.RawMessage{}, AsOf: s.Seq()}
	if total {
		answer.Total = &count
	}
	if len(all) > int(limit) {
		all = all[:limit]
		answer.NextCursor = cursor{Seq: s.Seq(), After: all[limit-1].Ref.ID}.encode()
		query := c.r.URL.Query()
		query.Set("cursor", answer.NextCursor)
		c.w.Header().Set("Link", "<"+c.r.URL.EscapedPath()+"?"+query.Encode()+`>; rel="next"`)
	}
	for _, e := range all {
		item, err := represent(e)
		if err != nil {
			return err
		}
		answer.Items = append(answer.Items, item)
	}
	return web.Respond(c.w, http.StatusOK, answer)
}

// pageOf is the state that a page is taken from, and the id that it begins
// behind.
func (c *call) pageOf(p *project.Project) (*flags.State, string, error) {
	text := c.query.Get("cursor")
	if text == "" {
		s, err := c.stateOf(p)
		return s, "", err
	}
	at, err := decodeCursor(text)
	if err != nil {
		return nil, "", err
	}
	now, err := p.Newest(c.ctx)
	if err != nil {
		return nil, "", err
	}
	if at.Seq > now.Seq() {
		return nil, "", web.Invalid("cursor", "invalid", "the cursor is beyond the end of the log")
	}
	s, err := p.AsOf(c.ctx, events.Point{Seq: at.Seq})
	if err != nil {
		return nil, "", err
	}
	c.at(s)
	return s, at.After, nil
}

// orders are the ways to sort a list.
var orders = map[string]func(a, b flags.Entity) int{
	"name": func(a, b flags.Entity) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	},
	"lastModified": func(a, b flags.Entity) int { return cmp.Compare(a.Seq, b.Seq) },
	"created":      func(a, b flags.Entity) int { return cmp.Compare(a.Created, b.Created) },
}

// order reads sort: names of orders, each with - for the reverse.
func (c *call) order() (func(a, b flags.Entity) int, error) {
	var chain []func(a, b flags.Entity) int
	for one := range strings.SplitSeq(cmp.Or(c.query.Get("sort"), "name"), ",") {
		name, reverse := strings.CutPrefix(one, "-")
		by, ok := orders[name]
		if !ok || len(chain) == len(orders) {
			return nil, web.Invalid("sort", "invalid", "sort by name, lastModified or created, each with - for the reverse")
		}
		if reverse {
			forth := by
			by = func(a, b flags.Entity) int { return forth(b, a) }
		}
		chain = append(chain, by)
	}
	return func(a, b flags.Entity) int {
		for _, by := range chain {
			if n := by(a, b); n != 0 {
				return n
			}
		}
		return strings.Compare(a.Ref.ID, b.Ref.ID)
	}, nil
}

// facets are what lists are filtered by. They are read from the document's JSON,
// so that one code serves every kind.
type facets struct {
	DisplayName string   `json:"displayName"`
	Description string   `json:"description"`
	Owner       string   `json:"owner"`
	Status      string   `json:"status"`
	Tags        []string `json:"tags"`
}

// wanted reports whether an entity passes the filters: each names what is
// wanted, repeated ones mean any of them.
func (c *call) wanted(e flags.Entity) bool {
	q := strings.ToLower(c.query.Get("q"))
	status, owner, tags := c.query["status"], c.query["owner"], c.query["tag"]
	if q == "" && len(status)+len(owner)+len(tags) == 0 {
		return true
	}
	var f facets
	if json.Unmarshal(e.Raw, &f) != nil {
		return false
	}
	has := func(text string) bool { return strings.Contains(strings.ToLower(text), q) }
	return (q == "" || has(e.Name) || e.Ref.ID == q || has(f.DisplayName) || has(f.Description) || slices.ContainsFunc(f.Tags, has)) &&
		(len(status) == 0 || slices.Contains(status, f.Status)) &&
		(len(owner) == 0 || slices.Contains(owner, f.Owner)) &&
		(len(tags) == 0 || slices.ContainsFunc(f.Tags, func(t string) bool { return slices.Contains(tags, t) }))
}

// seqText writes a sequence as a parameter has it.
func seqText(seq uint64) string { return strconv.FormatUint(seq, 10) }
