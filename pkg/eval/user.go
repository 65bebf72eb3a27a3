package eval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// A User is whom a decision is for. Evaluation only reads it, so one User may be
// evaluated from many goroutines; its maps must not change meanwhile.
//
// Values of Custom and PrivateAttributes are strings, numbers, booleans, nil and
// slices of these, as encoding/json produces them; other Go kinds of numbers and
// []string are understood too. Of maps, conditions can tell little but that they
// are there. Nil under a name says that there is nothing, whatever stands in
// PrivateAttributes. PrivateAttributes take part in decisions and
// never leave the evaluator: no payload, exposure or trace repeats them.
type User struct {
	UserID             string            `json:"userID,omitempty"`
	Email              string            `json:"email,omitempty"`
	IP                 string            `json:"ip,omitempty"`
	UserAgent          string            `json:"userAgent,omitempty"`
	Country            string            `json:"country,omitempty"`
	Locale             string            `json:"locale,omitempty"`
	AppVersion         string            `json:"appVersion,omitempty"`
	Custom             map[string]any    `json:"custom,omitempty"`
	PrivateAttributes  map[string]any    `json:"privateAttributes,omitempty"`
	CustomIDs          map[string]string `json:"customIDs,omitempty"`
	StatsigEnvironment map[string]string `json:"statsigEnvironment,omitempty"`
}

// UnitID returns the user's id of a type: the user id for "" and "userID" in any
// case, else the custom id of that name, exact or lower-cased; "" when missing.
func (u *User) UnitID(idType string) string {
	if isUserID(idType) {
		return u.UserID
	}
	if id, ok := u.CustomIDs[idType]; ok {
		return id
	}
	return u.CustomIDs[strings.ToLower(idType)]
}

func isUserID(idType string) bool {
	return idType == "" || len(idType) == len("userid") && strings.EqualFold(idType, "userid")
}

// UnmarshalJSON reads a user as clients send it: ids and properties may be
// numbers or booleans where text is meant, and null where they are absent. An
// empty list stands for an object without members: PHP writes one for the other.
func (u *User) UnmarshalJSON(data []byte) error {
	var in struct {
		UserID             scalar          `json:"userID"`
		Email              scalar          `json:"email"`
		IP                 scalar          `json:"ip"`
		UserAgent          scalar          `json:"userAgent"`
		Country            scalar          `json:"country"`
		Locale             scalar          `json:"locale"`
		AppVersion         scalar          `json:"appVersion"`
		Custom             members[any]    `json:"custom"`
		PrivateAttributes  members[any]    `json:"privateAttributes"`
		CustomIDs          members[scalar] `json:"customIDs"`
		StatsigEnvironment members[scalar] `json:"statsigEnvironment"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("reading user: %w", err)
	}
	*u = User{
		UserID: string(in.UserID), Email: string(in.Email), IP: string(in.IP), UserAgent: string(in.UserAgent),
		Country: string(in.Country), Locale: string(in.Locale), AppVersion: string(in.AppVersion),
		Custom: in.Custom, PrivateAttributes: in.PrivateAttributes,
		CustomIDs: plain(in.CustomIDs), StatsigEnvironment: plain(in.StatsigEnvironment),
	}
	return nil
}

// A scalar is text that may arrive as a number or a boolean.
type scalar string

func (s *scalar) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		*s = ""
	case string:
		*s = scalar(v)
	case bool:
		*s = scalar(data)
	case float64:
		if isInteger(data) { // to the last digit: ids beyond 2^53 stay apart
			*s = scalar(data)
		} else {
			*s = scalar(formatNumber(v))
		}
	default:
		return fmt.Errorf("want text, got %.20s", data)
	}
	return nil
}

// members are those of an object, which may arrive as an empty list.
type members[V any] map[string]V

// UnmarshalJSON implements [json.Unmarshaler].
func (m *members[V]) UnmarshalJSON(data []byte) error {
	if data[0] == '[' && len(bytes.TrimSpace(data[1:len(data)-1])) == 0 {
		*m = nil
		return nil
	}
	return json.Unmarshal(data, (*map[string]V)(m))
}

func isInteger(number []byte) bool { return strings.Trim(string(number), "-0123456789") == "" }

func plain(in map[string]scalar) map[string]string {
	if in == nil {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[k] = string(v)
	}
	return out
}
