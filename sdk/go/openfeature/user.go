package openfeature

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	of "github.com/open-feature/go-sdk/openfeature"

	sluice "github.com/sluice-flags/sluice/sdk/go"
)

// known are the members that a user has a place for, by their name in lower
// case.
var known = map[string]string{
	"userid": "userID", "email": "email", "ip": "ip", "useragent": "userAgent", "country": "country", "locale": "locale",
	"appversion": "appVersion", "customids": "customIDs", "privateattributes": "privateAttributes", "custom": "custom",
}

// user is whom a context describes, by the rules of the edge: the targeting key
// is the user id, known members are what they are named, members named like a
// unit type are custom ids, and all else is custom.
func (p *Provider) user(c of.FlattenedContext) (u sluice.User, problem string) {
	user := map[string]any{}
	units, custom := map[string]any{}, map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		v := c[name]
		property := known[strings.ToLower(name)]
		switch {
		case v == nil:
		case property != "":
			if _, taken := user[property]; !taken || name == property {
				user[property] = v
			}
		case name == of.TargetingKey:
		case p.units[strings.ToLower(name)] != "":
			units[p.units[strings.ToLower(name)]] = v
		default:
			custom[name] = v
		}
	}
	if key, ok := c[of.TargetingKey]; ok && user["userID"] == nil {
		user["userID"] = key
	}
	for property, more := range map[string]map[string]any{"customIDs": units, "custom": custom} {
		if own, ok := user[property].(map[string]any); ok {
			maps.Copy(more, own)
		} else if user[property] != nil {
			return u, property + " is not an object"
		}
		if len(more) > 0 {
			user[property] = more
		}
	}
	raw, err := json.Marshal(user)
	if err == nil {
		err = json.Unmarshal(raw, &u)
	}
	if err != nil {
		return u, err.Error()
	}
	return u, ""
}
