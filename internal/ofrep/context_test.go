package ofrep_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/eval"
)

var names = ofrep.Names{
	UnitType: func(name string) string {
		return map[string]string{"stableid": "stableID", "companyid": "companyID"}[strings.ToLower(name)]
	},
	Tiers: []string{"production", "staging"},
}

func TestAContextBecomesTheUserThatItDescribes(t *testing.T) {
	for _, c := range []struct {
		name, context string
		want          eval.User
	}{
		{"nobody", `{}`, eval.User{}},
		{"the targeting key is the user id", `{"targetingKey":"u1"}`, eval.User{UserID: "u1"}},
		{"a user id wins over the targeting key", `{"targetingKey":"u1","userID":"u2"}`, eval.User{UserID: "u2"}},
		{"a user id in any case wins too", `{"USERID":"u2","targetingKey":"u1"}`, eval.User{UserID: "u2"}},
		{"a user id that is null is none", `{"targetingKey":"u1","userID":null}`, eval.User{UserID: "u1"}},
		{"numbers are ids", `{"targetingKey":42}`, eval.User{UserID: "42"}},
		{"properties in any case", `{"EMAIL":"a@b.c","Ip":"1.2.3.4","useragent":"x","COUNTRY":"DE","Locale":"de","appversion":"1.2"}`,
			eval.User{Email: "a@b.c", IP: "1.2.3.4", UserAgent: "x", Country: "DE", Locale: "de", AppVersion: "1.2"}},
		{"our spelling wins", `{"Email":"1","email":"2","EMAIL":"3"}`, eval.User{Email: "2"}},
		{"then the first by name", `{"Email":"1","EMAIL":"3"}`, eval.User{Email: "3"}},
		{"members named like unit types", `{"stableID":"s1","CompanyId":7}`, eval.User{CustomIDs: map[string]string{"stableID": "s1", "companyID": "7"}}},
		{"custom ids given as such win", `{"stableID":"s1","customIDs":{"stableID":"s2","teamID":"t"}}`,
			eval.User{CustomIDs: map[string]string{"stableID": "s2", "teamID": "t"}}},
		{"all else is custom", `{"plan":"pro","seats":5,"beta":true,"tags":["a","b"],"targetingkey":"x"}`,
			eval.User{Custom: map[string]any{"plan": "pro", "seats": 5.0, "beta": true, "tags": []any{"a", "b"}, "targetingkey": "x"}}},
		{"custom given as such wins", `{"plan":"pro","custom":{"plan":"free","age":3}}`, eval.User{Custom: map[string]any{"plan": "free", "age": 3.0}}},
		{"private attributes stay private", `{"privateAttributes":{"secret":1}}`, eval.User{PrivateAttributes: map[string]any{"secret": 1.0}}},
		{"nulls are absent", `{"plan":null,"email":null,"custom":{"x":null},"customIDs":null}`, eval.User{}},
		{"empty lists are objects without members", `{"stableID":"s1","custom":[],"customIDs":[ ],"privateAttributes":[]}`, eval.User{CustomIDs: map[string]string{"stableID": "s1"}}},
		{"an environment that there is", `{"tier":"Staging"}`, eval.User{StatsigEnvironment: map[string]string{"tier": "staging"}}},
		{"a tier of another kind", `{"tier":"gold"}`, eval.User{Custom: map[string]any{"tier": "gold"}}},
		{"the environment of SDKs is no member", `{"statsigEnvironment":"x"}`, eval.User{Custom: map[string]any{"statsigEnvironment": "x"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			context, err := ofrep.DecodeContext([]byte(`{"context":` + c.context + `,"unheard":1}`))
			if err != nil {
				t.Fatal(err)
			}
			got, err := context.User(names)
			if err != nil {
				t.Fatalf("User() = %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("User() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestATierCountsOnlyWhereTheKeyLeavesAChoice(t *testing.T) {
	one := ofrep.Names{Tiers: []string{"production"}}
	got, err := ofrep.Context{"tier": json.RawMessage(`"production"`)}.User(one)
	if err != nil || got.StatsigEnvironment != nil || got.Custom["tier"] != "production" {
		t.Errorf("User() = %+v, %v; want a custom attribute", got, err)
	}
}

// bad is what clients may send by mistake, and what it is called.
var bad = []struct {
	name, body string
	want       ofrep.ErrorCode
}{
	{"nothing", ``, ofrep.ParseError},
	{"white space", " \n", ofrep.ParseError},
	{"broken JSON", `{"context":{`, ofrep.ParseError},
	{"two values", `{} {}`, ofrep.ParseError},
	{"an array", `[]`, ofrep.ParseError},
	{"a text", `"x"`, ofrep.ParseError},
	{"null", `null`, ofrep.ParseError},
	{"a byte order mark", "\ufeff{}", ofrep.ParseError},
	{"no UTF-8", "{\"context\":{\"plan\":\"\xff\"}}", ofrep.ParseError},
	{"a member twice", `{"context":{"a":1,"a":2}}`, ofrep.ParseError},
	{"a context that is no object", `{"context":[1]}`, ofrep.InvalidContext},
	{"a context that is a text", `{"context":"u1"}`, ofrep.InvalidContext},
	{"too deep", `{"context":{"a":{"b":{"c":{"d":{"e":{"f":{"g":{}}}}}}}}}`, ofrep.InvalidContext},
	{"too deep in arrays", `{"context":{"a":` + strings.Repeat("[", 7) + strings.Repeat("]", 7) + `}}`, ofrep.InvalidContext},
	{"too large", `{"context":{"a":"` + strings.Repeat("x", ofrep.MaxBody) + `"}}`, ofrep.InvalidContext},
	{"a number out of range", `{"context":{"a":1e999}}`, ofrep.InvalidContext},
	{"a targeting key that is an object", `{"context":{"targetingKey":{}}}`, ofrep.InvalidContext},
	{"an email that is a list", `{"context":{"email":["a"]}}`, ofrep.InvalidContext},
	{"custom that is a text", `{"context":{"custom":"x"}}`, ofrep.InvalidContext},
	{"custom ids that are a list", `{"context":{"customIDs":["x"]}}`, ofrep.InvalidContext},
	{"a custom id that is an object", `{"context":{"stableID":{}}}`, ofrep.InvalidContext},
	{"private attributes that are a number", `{"context":{"privateAttributes":1}}`, ofrep.InvalidContext},
}

// userOf reads a body as the endpoints do.
func userOf(body string) (eval.User, error) {
	context, err := ofrep.ReadContext(httptest.NewRequest("POST", ofrep.PathFlags, strings.NewReader(body)))
	if err != nil {
		return eval.User{}, err
	}
	return context.User(names)
}

func TestBadBodiesAreNamedInTheProtocolsWords(t *testing.T) {
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			_, err := userOf(c.body)
			e, ok := errors.AsType[*ofrep.Error](err)
			if !ok || e.Code != c.want || e.Details == "" {
				t.Errorf("a body with %s = %v; want %s with details", c.name, err, c.want)
			}
		})
	}
}

func TestABodyOfTheGreatestDepthIsTaken(t *testing.T) {
	if _, err := userOf(`{"context":{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}}`); err != nil {
		t.Errorf("a body of eight levels = %v; want nil", err)
	}
}

func TestCompressedBodiesAreBoundedByWhatTheyHold(t *testing.T) {
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	_, _ = z.Write([]byte(`{"context":{"a":"` + strings.Repeat("x", ofrep.MaxBody) + `"}}`)) // to memory
	_ = z.Close()
	r := httptest.NewRequest("POST", ofrep.PathFlags, &small)
	r.Header.Set("Content-Encoding", "gzip")
	_, err := ofrep.ReadContext(r)
	if e, ok := errors.AsType[*ofrep.Error](err); !ok || e.Code != ofrep.InvalidContext {
		t.Errorf("ReadContext(a bomb) = %v; want INVALID_CONTEXT", err)
	}
	r = httptest.NewRequest("POST", ofrep.PathFlags, strings.NewReader("{}"))
	r.Header.Set("Content-Encoding", "rot13")
	if _, err := ofrep.ReadContext(r); err == nil {
		t.Error("ReadContext(an encoding that nobody has) succeeded")
	}
}

func FuzzContext(f *testing.F) {
	for _, c := range bad {
		f.Add([]byte(c.body))
	}
	f.Add([]byte(`{"context":{"targetingKey":"u1","stableID":"s","tier":"staging","plan":"pro","custom":{"a":[1,null]},"email":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		context, err := ofrep.DecodeContext(body)
		if err == nil {
			var u eval.User
			if u, err = context.User(names); err == nil {
				if _, err := json.Marshal(u); err != nil {
					t.Errorf("the user of %q has no JSON: %v", body, err)
				}
				again, err := context.User(names)
				if diff := cmp.Diff(u, again); err != nil || diff != "" {
					t.Errorf("User() of %q differs from itself: %v\n%s", body, err, diff)
				}
				return
			}
		}
		e, ok := errors.AsType[*ofrep.Error](err)
		if !ok || e.Code != ofrep.ParseError && e.Code != ofrep.InvalidContext || e.Details == "" {
			t.Errorf("a bad body %q = %v; want PARSE_ERROR or INVALID_CONTEXT with details", body, err)
		}
	})
}
