package statsig

import (
	"slices"
	"strconv"

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
func (s *scanner) user(e *LogEvent) bool {
	if s.peek() != '{' {
		if s.null() {
			return false
		}
		s.skip()
		e.fault("wrong_type", "user should be an object")
		return true
	}
	var few [8]events.Pair
	kept := attributes{list: few[:0]}
	s.members(func(name string) {
		switch name {
		case "userID":
			e.User.UserID = s.id(e, name)
		case "customIDs":
			s.customIDs(e)
		case "statsigEnvironment":
			s.tier(e)
		default:
			s.attribute(&kept, name)
		}
	})
	if len(kept.list) > 0 {
		events.SortPairs(kept.list)
		e.User.Attributes = s.keep(kept.list)
	}
	return true
}

// attributes are those of a user that are kept so far, by name. A member of the
// user goes before a custom attribute of its name.
type attributes struct{ list []events.Pair }

// attribute reads a member of a user that is none of its ids: keeps what is wanted
// of it, and steps over the rest. What is private never is.
func (s *scanner) attribute(kept *attributes, name string) {
	switch {
	case len(s.wanted) == 0, name == "privateAttributes":
		s.skip()
	case name == "custom" && s.peek() == '{':
		s.members(func(name string) {
			if !slices.Contains(s.wanted, name) {
				s.skip()
			} else if value := s.scalar(); value != "" && len(value) <= maxID && !kept.has(name) {
				kept.list = append(kept.list, events.Pair{Name: name, Value: value})
			}
		})
	case slices.Contains(s.wanted, name):
		if value := s.scalar(); value != "" && len(value) <= maxID {
			kept.list = slices.DeleteFunc(kept.list, func(p events.Pair) bool { return p.Name == name })
			kept.list = append(kept.list, events.Pair{Name: name, Value: value})
		}
	default:
		s.skip()
	}
}

func (a *attributes) has(name string) bool {
	return slices.ContainsFunc(a.list, func(p events.Pair) bool { return p.Name == name })
}

// id reads a unit's id: a string, or a number as text.
func (s *scanner) id(e *LogEvent, field string) string {
	if c := s.peek(); c == '{' || c == '[' || c == 't' || c == 'f' {
		s.skip()
		e.fault("wrong_type", field+" should be a string or a number")
		return ""
	}
	id := s.scalar()
	if len(id) > maxID {
		e.fault("too_long", field+" is longer than "+strconv.Itoa(maxID)+" bytes")
		return ""
	}
	return id
}

func (s *scanner) customIDs(e *LogEvent) {
	if s.peek() != '{' {
		if !s.null() {
			s.skip()
			e.fault("wrong_type", "user.customIDs should be an object")
		}
		return
	}
	var few [8]events.Pair
	list := few[:0]
	s.members(func(name string) {
		id := s.id(e, "an id in user.customIDs")
		switch {
		case id == "":
		case len(name) > maxName:
			e.fault("too_long", "a name in user.customIDs is longer than "+strconv.Itoa(maxName)+" bytes")
		case len(list) == maxPairs:
			e.fault("too_many", "user.customIDs has more than "+strconv.Itoa(maxPairs)+" entries")
		default:
			list = append(list, events.Pair{Name: name, Value: id})
		}
	})
	e.User.CustomIDs = s.keep(sorted(e, list, "user.customIDs"))
}

func (s *scanner) tier(e *LogEvent) {
	if s.peek() != '{' {
		s.skip()
		return
	}
	s.members(func(name string) {
		if name == "tier" && s.peek() == '"' {
			if tier := s.string(); len(tier) <= maxName {
				e.User.Tier = tier
			}
			return
		}
		s.skip()
	})
}
