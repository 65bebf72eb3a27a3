package contract

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A split is a case in which the Go SDK and our evaluator are known to differ
// about one condition. The published SDKs differ about each among themselves, and
// ours takes a side on purpose, or goes beyond all of them.
type split struct {
	name, why string
	applies   func(q *question) bool
}

// A question is one condition put to one user, as the Go SDK sees it.
type question struct {
	eval.Condition
	user   *eval.User
	target any
	value  any // nil when absent; a missing property of the user is ""
}

// splits is every known difference, with its reason. A difference that is in no
// row fails the test, and so does a row that a whole run never needs.
var splits = []split{
	{
		"no date", "to go, what is absent or no date is the year 1 and so before everything; to node, core and ours it matches nothing",
		func(q *question) bool { return q.is(timeOperators) && (!isDate(q.value) || !isDate(q.target)) },
	},
	{
		"part of a second", "go compares whole seconds; core and ours compare milliseconds",
		func(q *question) bool { return q.is(timeOperators) && subSecond(q.value) != subSecond(q.target) },
	},
	{
		"seconds beyond a century", "go takes numbers for seconds if that lands within a hundred years; the others if they are below 1e10",
		func(q *question) bool { return q.is(timeOperators) && (isFar(q.value) || isFar(q.target)) },
	},
	{
		"day of another zone", "to go, a day is that of the text's own zone; to core and ours it is UTC's",
		func(q *question) bool {
			return q.is([]string{"on"}) && strings.Contains(string(encoded([]any{q.value, q.target})), "-05:00")
		},
	},
	{
		"the time as a number", "go counts seconds; node, core and ours count milliseconds",
		func(q *question) bool { return q.Type == "current_time" && q.is(orderOperators) },
	},
	{
		"numbers spelled oddly", "go parses inf, NaN and the like, and not what is too big; node and ours read decimals of any size, and Infinity",
		func(q *question) bool { return q.is(orderOperators) && (isOddNumber(q.value) || isOddNumber(q.target)) },
	},
	{
		"versions spelled oddly", "go refuses spaces and parts beyond 64 bits; ours forgives spaces as core does, and counts without limit",
		func(q *question) bool {
			return q.is(versionOperators) && (isOddVersion(q.value) || isOddVersion(q.target))
		},
	},
	{
		"equality across types", "go wants the same type; in the others, and ours, 10 equals \"10\", in lists too",
		func(q *question) bool {
			list, _ := q.target.([]any)
			return q.is(equalOperators) && q.value != nil && q.target != nil &&
				(list != nil || reflect.TypeOf(q.value) != reflect.TypeOf(q.target))
		},
	},
	{
		"empty text or none", "to go, a missing property of a user is empty text, and that equals null; to core and ours empty properties are absent, and empty attributes are not",
		func(q *question) bool {
			return q.is(equalOperators) && (q.target == nil || q.target == "") && q.value == ""
		},
	},
	{
		"empty text among the targets", "to go, a missing property of a user is empty text, and so among such targets; to node and ours it is among none",
		func(q *question) bool {
			list, _ := q.target.([]any)
			return q.is(listOperators) && slices.Contains(list, any("")) && q.value == ""
		},
	},
	{
		"a pattern on no text", "go searches empty text in place of what is missing or no string; the others fail what is missing, and search a number's text, core and ours a list as JSON",
		func(q *question) bool {
			s, ok := q.value.(string)
			return q.is([]string{"str_matches"}) && (!ok || s == "")
		},
	},
	{
		"a pattern on long text", "node and ours do not search text of a thousand characters and more",
		func(q *question) bool {
			s, _ := q.value.(string)
			return q.is([]string{"str_matches"}) && len(s) >= 1000
		},
	},
	{
		"letters with several lower cases", "go folds letters one by one; node, core and ours lower-case by the full Unicode rules",
		func(q *question) bool {
			return q.is(listOperators) && strings.ContainsAny(string(encoded([]any{q.value, q.target})), "ſ\u212aΣσςİ")
		},
	},
	{
		"lists as text", "go prints elements of a list as Go does, 1e+06 and <nil>; node and ours as JavaScript does",
		func(q *question) bool {
			_, list := q.value.([]any)
			return list && q.is(listOperators)
		},
	},
	{
		"lists within lists", "to go, a list within a list is its text, and null is empty text; to node, core and ours they equal only their like",
		func(q *question) bool {
			return q.is(arrayOperators) && (hasNoScalar(q.value) || hasNoScalar(q.target))
		},
	},
	{
		"other names of the address", "only go reads the address as ipAddress and ip_address",
		func(q *question) bool { return q.Field == "ipAddress" || q.Field == "ip_address" },
	},
	{
		"objects as values", "go prints them as Go does; to node and ours, all have one text",
		func(q *question) bool { _, object := q.value.(map[string]any); return object },
	},
	{
		"id lists of absent values", "go panics, and the whole gate fails; to the others nobody is no member",
		func(q *question) bool { return strings.HasSuffix(q.Operator, "in_segment_list") && q.value == nil },
	},
	{
		"country in another case", "only go looks the address up for a field called Country",
		func(q *question) bool { return q.Type == "ip_based" && q.Field == "Country" },
	},
	{
		"an address among the attributes", "only go looks up an address that is a custom attribute",
		func(q *question) bool { return q.Type == "ip_based" && q.user.IP == "" && q.user.Custom["ip"] != nil },
	},
	{
		"impossible addresses", "go looks 999.1.1.1 up; core dies of it; ours knows that it is none",
		func(q *question) bool { return q.Type == "ip_based" && q.user.IP == "999.1.1.1" },
	},
	{
		"ranges of addresses", "operators of ours, which go does not know",
		func(q *question) bool { return q.Operator == "ip_in_range" || q.Operator == "ip_not_in_range" },
	},
	{
		"long user agents", "node, core and ours do not parse agents of more than a thousand characters",
		func(q *question) bool { return q.Type == "ua_based" && len(q.user.UserAgent) > 1000 },
	},
	{
		"a bucket without a salt", "go has no bucket then; to core and ours a missing salt is empty",
		func(q *question) bool { return q.Type == "user_bucket" && q.AdditionalValues["salt"] == nil },
	},
}

// explain returns the split that accounts for a difference, nil if none does.
func explain(c eval.Condition, u *eval.User) *split {
	q := question{Condition: c, user: u, value: seen(c, u)}
	if len(c.TargetValue) > 0 {
		if err := json.Unmarshal(c.TargetValue, &q.target); err != nil {
			panic(err) // the generator's own
		}
	}
	for i := range splits {
		if splits[i].applies(&q) {
			return &splits[i]
		}
	}
	return nil
}

func (q *question) is(operators []string) bool { return slices.Contains(operators, q.Operator) }

// seen is the value that the Go SDK compares.
func seen(c eval.Condition, u *eval.User) any {
	switch c.Type {
	case "current_time":
		return float64(time.Now().Unix())
	case "unit_id":
		return u.UnitID(c.IDType)
	case "user_bucket":
		return nil
	}
	property, isProperty := map[string]string{
		"userid": u.UserID, "user_id": u.UserID, "email": u.Email, "country": u.Country, "locale": u.Locale,
		"appversion": u.AppVersion, "app_version": u.AppVersion, "useragent": u.UserAgent, "ip": u.IP, "ipaddress": u.IP, "ip_address": u.IP,
	}[strings.ToLower(c.Field)]
	if property != "" {
		return property
	}
	for _, attributes := range []map[string]any{u.Custom, u.PrivateAttributes} {
		for _, key := range []string{c.Field, strings.ToLower(c.Field)} {
			if v, ok := attributes[key]; ok {
				return v
			}
		}
	}
	if isProperty && c.Field != "userAgent" {
		return ""
	}
	return nil
}

// hasNoScalar reports whether null or a list is among the elements of a list.
func hasNoScalar(v any) bool {
	list, _ := v.([]any)
	return slices.ContainsFunc(list, func(e any) bool { _, nested := e.([]any); return nested || e == nil })
}

func isDate(v any) bool {
	switch v := v.(type) {
	case float64:
		return true
	case string:
		_, notInteger := strconv.ParseInt(v, 10, 64)
		_, notTime := time.Parse(time.RFC3339, v)
		return notInteger == nil || notTime == nil
	}
	return false
}

// subSecond is what of an instant is below a second.
func subSecond(v any) int {
	switch v := v.(type) {
	case float64:
		if v < 1e10 {
			v *= 1000
		}
		return int(v) % 1000
	case string:
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return at.Nanosecond() / 1e6
		}
	}
	return 0
}

func isFar(v any) bool {
	f, ok := v.(float64)
	return ok && f > 4e9 && f < 1e10
}

var decimal = regexp.MustCompile(`^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^[+-]?Infinity$`)

func isOddNumber(v any) bool {
	s, ok := v.(string)
	_, err := strconv.ParseFloat(s, 64)
	return ok && (err == nil) != decimal.MatchString(s)
}

var plainVersion = regexp.MustCompile(`^\d{1,18}(\.\d{1,18})*(-.*)?$`)

func isOddVersion(v any) bool {
	s, ok := v.(string)
	return ok && !plainVersion.MatchString(s)
}
