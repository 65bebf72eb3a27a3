package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// listable are the parameters that may be given several times, each for another value.
var listable = []string{"kind", "owner", "status", "tag"}

// parseQuery reads the query. A parameter that the route does not know, or that
// is given twice, is refused: a mistyped asOf must not quietly read the present,
// nor one of two asOf the other's past.
func parseQuery(r *http.Request, known []string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, web.Invalid("", "syntax", "the query cannot be read")
	}
	var problems []web.FieldProblem
	for name := range query {
		if !slices.Contains(known, name) {
			problems = append(problems, web.FieldProblem{Pointer: clip(name), Code: "unknown", Message: "there is no parameter of this name here"})
		}
	}
	if len(problems) > 0 {
		return nil, &web.Error{Code: web.CodeValidation, Message: "the query has parameters that are not known here", Problems: problems}
	}
	for name, values := range query {
		if len(values) > 1 && !slices.Contains(listable, name) {
			return nil, web.Invalid(name, "duplicate", "send %s once", name)
		}
	}
	return query, nil
}

// name is the entity that the path names, by name or by id.
func (c *call) name() (string, error) {
	name := c.r.PathValue("name")
	if !flags.ValidName(name) {
		return "", web.Invalid("name", "name", "this is no name: up to 100 letters, digits, spaces and _ . : - in ASCII, the first a letter or digit")
	}
	return name, nil
}

// flag reads a parameter that is true or false.
func (c *call) flag(name string) (bool, error) {
	switch c.query.Get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, web.Invalid(name, "type", "%s is true or false", name)
}

// number reads a parameter that is a number within bounds.
func (c *call) number(name string, least, most, otherwise uint64) (uint64, error) {
	text := c.query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, web.Invalid(name, "out_of_range", "%s is a number from %d to %d", name, least, most)
	}
	return n, nil
}

// point reads a parameter that is a point of the log: a sequence, or a time as
// RFC 3339. Without one, asked is false.
func (c *call) point(parameter string) (at events.Point, asked bool, err error) {
	text := c.query.Get(parameter)
	if text == "" {
		return events.Point{}, false, nil
	}
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		if seq == 0 {
			return events.Point{}, false, web.Invalid(parameter, "out_of_range", "sequences begin with 1")
		}
		return events.Point{Seq: seq}, true, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 || t.Year() > 2262 {
		return events.Point{}, false, web.Invalid(parameter, "invalid", "%s is a sequence, or a time such as 2027-02-01T00:00:00Z", parameter)
	}
	return events.Point{Time: t}, true, nil
}

// header reads a request header that may be given once.
func header(r *http.Request, name string) (string, error) {
	values := r.Header.Values(name)
	if len(values) > 1 {
		return "", web.Invalid(name, "duplicate", "send %s once", name)
	}
	if len(values) == 0 {
		return "", nil
	}
	return strings.TrimSpace(values[0]), nil
}

// match reads If-Match.
func (c *call) match() (command.Match, error) {
	text, err := header(c.r, "If-Match")
	if err != nil || text == "" {
		return command.Match{}, err
	}
	if text == "*" {
		if !c.may(force) {
			return command.Match{}, &web.Error{Code: web.CodeForbidden, Message: "the key lacks the scope force, which If-Match: * needs", Extra: map[string]any{"missing": force}}
		}
		return command.Match{Any: true}, nil
	}
	seq, ok := parseTag(text)
	if !ok || seq == 0 {
		return command.Match{}, web.Invalid("If-Match", "invalid", `send one ETag as it was read, such as "41"`)
	}
	return command.Match{Seq: seq}, nil
}

// etag is the entity tag of a version.
func etag(seq uint64) string { return `"` + strconv.FormatUint(seq, 10) + `"` }

func parseTag(text string) (uint64, bool) {
	inner, ok := strings.CutPrefix(text, `"`)
	if !ok {
		return 0, false
	}
	if inner, ok = strings.CutSuffix(inner, `"`); !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(inner, 10, 64)
	return seq, err == nil && strconv.FormatUint(seq, 10) == inner
}

// createOnly reads If-None-Match on a write, where only * makes sense.
func (c *call) createOnly() (bool, error) {
	text, err := header(c.r, "If-None-Match")
	switch {
	case err != nil || text == "":
		return false, err
	case text == "*":
		return true, nil
	}
	return false, web.Invalid("If-None-Match", "invalid", "on a write, only If-None-Match: * means something: create, and do not replace")
}

// reason reads Change-Reason.
func (c *call) reason() (string, error) {
	text, err := header(c.r, "Change-Reason")
	if err != nil {
		return "", err
	}
	return text, checkReason("Change-Reason", text)
}

const maxReason = 1000

func checkReason(pointer, text string) error {
	if len(text) > maxReason {
		return web.Invalid(pointer, "too_long", "a reason has at most %d bytes", maxReason)
	}
	return nil
}

// idempotencyKey reads Idempotency-Key: up to 128 printable characters.
func (c *call) idempotencyKey() (string, error) {
	key, err := header(c.r, "Idempotency-Key")
	if err != nil {
		return "", err
	}
	printable := func(r rune) bool { return r >= ' ' && r <= '~' }
	if _, given := c.r.Header["Idempotency-Key"]; given && (key == "" || len(key) > 128 || strings.ContainsFunc(key, func(r rune) bool { return !printable(r) })) {
		return "", web.Invalid("Idempotency-Key", "invalid", "an idempotency key has 1 to 128 printable ASCII characters")
	}
	return key, nil
}

// clip keeps what a caller sent short enough to send back.
func clip(s string) string {
	if len(s) > 128 {
		return strings.ToValidUTF8(s[:128], "") + "…"
	}
	return s
}
