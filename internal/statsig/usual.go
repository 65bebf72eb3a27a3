package statsig

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
)

// UserLimits are those of a body that names a user: a user is small, and its members
// are its own business.
var UserLimits = web.Limits{Raw: 256 << 10, Inflated: 1 << 20, CaseVariants: true, Unknown: true}

// ReadCheck reads the body of a check into in, strictly, as [web.DecodeJSON] does within
// [UserLimits].
//
// What SDKs usually send is read in one pass. Whatever is not quite like that, be
// it wrong or only odd, is left to the reader that is strict about everything and
// knows what to say: so there is one answer to the question of what is right.
func ReadCheck(body []byte, in *CheckRequest) error {
	if usualCheck(body, in) {
		return nil
	}
	*in = CheckRequest{}
	return web.DecodeJSON(body, in, UserLimits)
}

// ReadInitialize reads the body of an initialize request into in, as [ReadCheck]
// does that of a check.
func ReadInitialize(body []byte, in *InitializeRequest) error {
	if usualInitialize(body, in) {
		return nil
	}
	*in = InitializeRequest{}
	return web.DecodeJSON(body, in, UserLimits)
}

// usualBody bounds what is read in one pass: no text and no list in it can be
// longer than the strict reader allows.
const usualBody = 16 << 10

// usualMembers bounds the members of an object with a shape.
const usualMembers = 32

// errUnusual leaves a body to the strict reader.
var errUnusual = errors.New("not a usual body")

// A usual is a [scanner] that gives up at the first thing that is not as usual.
type usual struct{ scanner }

func (s *usual) leave() {
	if s.err == nil {
		s.err = errUnusual
	}
	s.pos = len(s.text)
}

var (
	checkNames      = []string{"gateName", "gateNames", "configName", "layerName", "user", "statsigMetadata"}
	initializeNames = []string{"user", "hash", "statsigMetadata"}
	metadataNames   = []string{"sdkType", "sdkVersion", "stableID", "exposureLoggingDisabled"}
	userNames       = []string{"userID", "email", "ip", "userAgent", "country", "locale", "appVersion", "custom", "privateAttributes", "customIDs", "statsigEnvironment"}
)

func usualCheck(body []byte, in *CheckRequest) bool {
	if len(body) > usualBody || !utf8.Valid(body) {
		return false
	}
	s := usual{scanner{text: string(body)}}
	s.known(checkNames, func(name string) {
		switch name {
		case "gateName":
			in.GateName = s.words()
		case "configName":
			in.ConfigName = s.words()
		case "layerName":
			in.LayerName = s.words()
		case "user":
			in.User = new(eval.User)
			s.user(in.User)
		case "statsigMetadata":
			s.metadata(&in.Metadata)
		case "gateNames":
			s.leave()
		default:
			s.flat()
		}
	})
	s.end()
	return s.err == nil
}

func usualInitialize(body []byte, in *InitializeRequest) bool {
	if len(body) > usualBody || !utf8.Valid(body) {
		return false
	}
	s := usual{scanner{text: string(body)}}
	s.known(initializeNames, func(name string) {
		switch name {
		case "user":
			in.User = new(eval.User)
			s.user(in.User)
		case "hash":
			in.Hash = s.words()
		case "statsigMetadata":
			s.metadata(&in.Metadata)
		default:
			s.flat()
		}
	})
	s.end()
	return s.err == nil
}

func (s *usual) metadata(m *Metadata) {
	s.known(metadataNames, func(name string) {
		switch name {
		case "sdkType":
			m.SDKType = s.words()
		case "sdkVersion":
			m.SDKVersion = s.words()
		case "stableID":
			m.StableID = s.words()
		case "exposureLoggingDisabled":
			text := s.flat()
			m.ExposureLoggingDisabled = text == "true" || text == `"true"`
		default:
			s.flat()
		}
	})
}

func (s *usual) user(u *eval.User) {
	s.known(userNames, func(name string) {
		switch name {
		case "userID":
			u.UserID = s.loose()
		case "email":
			u.Email = s.loose()
		case "ip":
			u.IP = s.loose()
		case "userAgent":
			u.UserAgent = s.loose()
		case "country":
			u.Country = s.loose()
		case "locale":
			u.Locale = s.loose()
		case "appVersion":
			u.AppVersion = s.loose()
		case "custom":
			u.Custom = usualMap(s, s.value)
		case "privateAttributes":
			u.PrivateAttributes = usualMap(s, s.value)
		case "customIDs":
			u.CustomIDs = usualMap(s, s.loose)
		case "statsigEnvironment":
			u.StatsigEnvironment = usualMap(s, s.loose)
		default:
			s.flat()
		}
	})
}

// known steps through an object whose members have meanings. Usual are ASCII
// names, each once, and none that only a reader who ignores case would know.
func (s *usual) known(names []string, member func(name string)) {
	var room [usualMembers]string
	before := room[:0]
	s.members(func(name string) {
		if len(before) == usualMembers || !distinct(name, names, before) {
			s.leave()
			return
		}
		before = append(before, name)
		member(name)
	})
}

// distinct reports whether a name is ASCII, and in any case neither one of those
// before nor, unless it is just that, one of those that are known.
func distinct(name string, known, before []string) bool {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return false
		}
	}
	for _, b := range before {
		if len(b) == len(name) && strings.EqualFold(b, name) {
			return false
		}
	}
	for _, k := range known {
		if len(k) == len(name) && strings.EqualFold(k, name) {
			return k == name
		}
	}
	return true
}

// usualMap reads an object of any names, each once, or null.
func usualMap[V any](s *usual, value func() V) map[string]V {
	if s.null() {
		return nil
	}
	out := make(map[string]V)
	s.members(func(name string) {
		if _, twice := out[name]; twice {
			s.leave()
			return
		}
		out[name] = value()
	})
	return out
}

// words reads a text.
func (s *usual) words() string {
	if s.peek() != '"' {
		s.leave()
		return ""
	}
	return s.string()
}

// loose reads a text that may be a whole number, a boolean or null.
func (s *usual) loose() string {
	switch c := s.peek(); {
	case c == '"':
		return s.string()
	case isNumber(c):
		n := s.number()
		if strings.Trim(n, "-0123456789") != "" {
			s.leave() // its digits are not what is kept
		}
		return n
	}
	word := s.literal()
	if word == "null" {
		return ""
	}
	return word
}

// value reads a value without members, or a list of such.
func (s *usual) value() any {
	if s.peek() != '[' {
		return s.one()
	}
	list := []any{}
	s.elements(func() { list = append(list, s.one()) })
	return list
}

func (s *usual) one() any {
	switch c := s.peek(); {
	case c == '"':
		return s.string()
	case isNumber(c):
		f, err := strconv.ParseFloat(s.number(), 64)
		if err != nil {
			s.leave()
		}
		return f
	}
	switch s.literal() {
	case "true":
		return true
	case "false":
		return false
	}
	return nil
}

// flat steps over a value without members or elements, and returns its text.
func (s *usual) flat() string {
	if c := s.peek(); c == '{' || c == '[' {
		empty := s.text[s.pos:min(s.pos+2, len(s.text))]
		if empty != "{}" && empty != "[]" {
			s.leave()
			return ""
		}
	}
	return s.raw()
}
