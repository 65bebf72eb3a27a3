package statsig

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-flags/sluice/pkg/events"
)

// A LogUser is what facts keep of a user: its ids, the environment it was in,
// and the attributes that the reader was told to keep. Others, and private ones
// always, are stepped over when a body is read, so that nothing behind the
// decoder can store or print them.
type LogUser struct {
	UserID     string
	CustomIDs  []events.Pair // ascending by name
	Tier       string        // of statsigEnvironment
	Attributes []events.Pair // those that are kept, ascending by name
}

// stable adds the stable id of the body to a user that has none.
func (u *LogUser) stable(id string) {
	if id == "" || len(id) > maxID {
		return
	}
	for _, p := range u.CustomIDs {
		if p.Name == "stableID" {
			return
		}
	}
	// Users may share their slice of ids, so it is copied, never appended to.
	ids := make([]events.Pair, 0, len(u.CustomIDs)+1)
	ids = append(append(ids, u.CustomIDs...), events.Pair{Name: "stableID", Value: id})
	events.SortPairs(ids)
	u.CustomIDs = ids
}

// user reads the ids of a user into e and steps over the rest. It tells
// whether there was a user: null is none, {} is one.
func (r *logReader) user(e *LogEvent) bool {
	if r.peek() != '{' {
		if r.null() {
			return false
		}
		r.skip()
		e.fault("wrong_type", "user should be an object")
		return true
	}
	var kept attributes
	for r.open(&r.users); r.next(&r.users); {
		switch name := r.users.name; name {
		case "userID":
			e.User.UserID = r.id(e, name)
		case "customIDs":
			r.customIDs(e)
		case "statsigEnvironment":
			r.tier(e)
		default:
			r.attribute(&kept, name)
		}
	}
	if len(kept.list) > 0 {
		events.SortPairs(kept.list)
		e.User.Attributes = append(r.room(), kept.list...)
		e.User.Attributes = r.keep(e.User.Attributes)
	}
	return true
}

// attributes are those of a user that are kept so far, by name. A member of the
// user goes before a custom attribute of its name.
type attributes struct{ list []events.Pair }

// attribute reads a member of a user that is none of its ids, keeps what is wanted
// of it, and steps over the rest.
func (r *logReader) attribute(kept *attributes, name string) {
	switch {
	case name == "custom" && r.peek() == '{':
		r.members(func(name string) {
			if !slices.Contains(r.wanted, name) {
				r.skip()
			} else if value := r.scalar(); value != "" && len(value) <= maxID && !kept.has(name) {
				kept.list = append(kept.list, events.Pair{Name: name, Value: value})
			}
		})
	case slices.Contains(r.wanted, name):
		if value := r.scalar(); value != "" && len(value) <= maxID {
			kept.list = slices.DeleteFunc(kept.list, func(p events.Pair) bool { return p.Name == name })
			kept.list = append(kept.list, events.Pair{Name: name, Value: value})
		}
	default:
		r.skip()
	}
}

func (a *attributes) has(name string) bool {
	return slices.ContainsFunc(a.list, func(p events.Pair) bool { return p.Name == name })
}

// id reads a unit's id: a string, or a number as the text that decisions know it
// by. Whole numbers keep their digits; 42.0 is 42.
func (r *logReader) id(e *LogEvent, field string) string {
	c := r.peek()
	if c == '{' || c == '[' || c == 't' || c == 'f' {
		r.skip()
		e.fault("wrong_type", field+" should be a string or a number")
		return ""
	}
	id := r.scalar()
	if isNumber(c) && strings.ContainsAny(id, ".eE") {
		f, _ := strconv.ParseFloat(id, 64) // it is in range, or was refused
		id = strconv.FormatFloat(f, 'f', -1, 64)
	}
	if len(id) > maxID {
		e.fault("too_long", field+" is longer than "+strconv.Itoa(maxID)+" bytes")
		return ""
	}
	return id
}

func (r *logReader) customIDs(e *LogEvent) {
	if r.peek() != '{' {
		if !r.nothing() {
			r.skip()
			e.fault("wrong_type", "user.customIDs should be an object")
		}
		return
	}
	list := r.room()
	for r.open(&r.ids); r.next(&r.ids); {
		name, id := r.ids.name, r.id(e, "an id in user.customIDs")
		switch {
		case id == "":
		case len(name) > maxName:
			e.fault("too_long", "a name in user.customIDs is longer than "+strconv.Itoa(maxName)+" bytes")
		case len(list) == maxPairs:
			e.fault("too_many", "user.customIDs has more than "+strconv.Itoa(maxPairs)+" entries")
		default:
			list = append(list, events.Pair{Name: name, Value: id})
		}
	}
	e.User.CustomIDs = r.keep(sorted(e, list, "user.customIDs"))
}

func (r *logReader) tier(e *LogEvent) {
	if r.peek() != '{' {
		r.skip()
		return
	}
	r.members(func(name string) {
		if name == "tier" && r.peek() == '"' {
			if tier := r.string(); len(tier) <= maxName {
				e.User.Tier = tier
			}
			return
		}
		r.skip()
	})
}
