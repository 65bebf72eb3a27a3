package ofrep

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
)

// A Context is what a client says about whom it asks for: members by name, nulls
// left out.
type Context map[string]json.RawMessage

var limits = web.Limits{Raw: MaxBody, Inflated: MaxBody, Depth: MaxDepth, CaseVariants: true, Unknown: true}

// ReadContext reads the context of a request's body. What is wrong with the
// request comes back as an [Error].
func ReadContext(r *http.Request) (Context, error) {
	body, err := web.ReadBody(r, limits)
	if err != nil {
		if e, ok := errors.AsType[*web.Error](err); ok {
			code := ParseError
			if e.Code == web.CodeTooLarge {
				code = InvalidContext
			}
			return nil, &Error{code, e.Message}
		}
		return nil, err
	}
	return DecodeContext(body)
}

// DecodeContext is [ReadContext] for bytes that were read before.
func DecodeContext(body []byte) (Context, error) {
	if len(body) > MaxBody {
		return nil, &Error{InvalidContext, "the body is too large"}
	}
	if problems := web.Check(body, nil, limits); len(problems) > 0 {
		code := InvalidContext
		switch problems[0].Code {
		case "required", "syntax", "encoding", "duplicate":
			code = ParseError
		}
		details := problems[0].Message
		if at := problems[0].Pointer; at != "" {
			details = at + ": " + details
		}
		return nil, &Error{code, details}
	}
	request, ok := members(body)
	if !ok {
		return nil, &Error{ParseError, `the body is not an object: send {"context": {…}}`}
	}
	raw, ok := request["context"]
	if !ok {
		return Context{}, nil
	}
	c, ok := members(raw)
	if !ok {
		return nil, &Error{InvalidContext, "the context is not an object"}
	}
	return c, nil
}

// members returns the members of an object, without nulls.
func members(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' {
		return nil, false
	}
	var out map[string]json.RawMessage
	if json.Unmarshal(raw, &out) != nil {
		return nil, false
	}
	maps.DeleteFunc(out, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	return out, true
}

// Names is what a project calls things, which a context may name.
type Names struct {
	// UnitType returns the project's spelling of a unit type given in any case;
	// "" when there is none of that name. userID is none of them.
	UnitType func(name string) string
	// Tiers are the environments among which the context may choose; none or
	// one leave no choice.
	Tiers []string
}

// known are the members that a user has a place for, by their name in lower
// case.
var known = map[string]string{
	"userid": "userID", "email": "email", "ip": "ip", "useragent": "userAgent", "country": "country", "locale": "locale",
	"appversion": "appVersion", "customids": "customIDs", "privateattributes": "privateAttributes", "custom": "custom",
}

const targetingKey = "targetingKey"

// User returns the user that the context describes:
//
//	targetingKey, or userID if there is one     → UserID
//	email, ip, userAgent, … in any case         → the property of that name
//	customIDs, privateAttributes, custom        → the objects of that name
//	a member named like a unit type             → that custom id
//	tier, where the key leaves a choice         → the environment
//	everything else                             → custom
func (c Context) User(n Names) (eval.User, error) {
	user := map[string]json.RawMessage{}
	units, custom := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	spelling := map[string]string{} // of properties: ours if it is there, else the first by name
	for _, name := range slices.Sorted(maps.Keys(c)) {
		property := known[strings.ToLower(name)]
		switch {
		case property != "":
			if spelling[property] == "" || name == property {
				spelling[property] = name
			}
		case name == targetingKey:
		case name == "tier" && c.tier(n.Tiers, user):
		case n.UnitType != nil && n.UnitType(name) != "":
			units[n.UnitType(name)] = c[name]
		default:
			custom[name] = c[name]
		}
	}
	if key, ok := c[targetingKey]; ok {
		user["userID"] = key
	}
	for property, name := range spelling {
		user[property] = c[name]
	}
	for property, more := range map[string]map[string]json.RawMessage{"customIDs": units, "custom": custom} {
		if err := fill(user, property, more); err != nil {
			return eval.User{}, err
		}
	}
	return decode(user)
}

// tier takes the environment from the context if the key leaves the choice.
func (c Context) tier(choice []string, user map[string]json.RawMessage) bool {
	var tier string
	if len(choice) < 2 || json.Unmarshal(c["tier"], &tier) != nil {
		return false
	}
	i := slices.IndexFunc(choice, func(name string) bool { return strings.EqualFold(name, tier) })
	if i < 0 {
		return false
	}
	user["statsigEnvironment"] = encode(map[string]string{"tier": choice[i]})
	return true
}

// fill adds members to an object of the user. What the object says itself wins.
func fill(user map[string]json.RawMessage, property string, more map[string]json.RawMessage) error {
	raw, given := user[property]
	if given && !isEmptyList(raw) {
		own, ok := members(raw)
		if !ok {
			return &Error{InvalidContext, property + " is not an object"}
		}
		maps.Copy(more, own)
	}
	if len(more) > 0 {
		user[property] = encode(more)
	} else {
		delete(user, property)
	}
	return nil
}

// isEmptyList tells what PHP writes for an object without members.
func isEmptyList(raw json.RawMessage) bool {
	inside, ok := bytes.CutPrefix(raw, []byte("["))
	return ok && string(bytes.TrimSpace(inside)) == "]"
}

// decode reads the user, by the rules of every other endpoint, and says which
// member it cannot be read from.
func decode(user map[string]json.RawMessage) (u eval.User, err error) {
	if err = json.Unmarshal(encode(user), &u); err == nil {
		return u, nil
	}
	for _, name := range slices.Sorted(maps.Keys(user)) {
		if json.Unmarshal(encode(map[string]json.RawMessage{name: user[name]}), &u) == nil {
			continue
		}
		want := "text"
		switch name {
		case "custom", "privateAttributes":
			want = "an object"
		case "customIDs":
			want = "an object of texts, as are members named like a unit type"
		case "userID":
			name = "targetingKey or userID"
		}
		return eval.User{}, &Error{InvalidContext, name + " is not " + want}
	}
	return eval.User{}, &Error{InvalidContext, "the context describes no user"}
}

// encode is the JSON of texts and of JSON that was checked before.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // both always encode
	}
	return raw
}
