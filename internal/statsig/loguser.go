package statsig

import (
	"strconv"

	"github.com/sluice-flags/sluice/pkg/events"
)

// A LogUser is what facts keep of a user: its ids and the environment it was
// in. Attributes, private ones among them, are stepped over when a body is
// read, so that nothing behind the decoder can store or print them.
type LogUser struct {
	UserID    string
	CustomIDs []events.Pair // ascending by name
	Tier      string        // of statsigEnvironment
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
	s.members(func(name string) {
		switch name {
		case "userID":
			e.User.UserID = s.id(e, name)
		case "customIDs":
			s.customIDs(e)
		case "statsigEnvironment":
			s.tier(e)
		default:
			s.skip()
		}
	})
	return true
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
