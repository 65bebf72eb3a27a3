package statsig_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
)

// checkBodies are bodies of checks as they come, and all that is odd about some.
var checkBodies = []string{
	`{"gateName":"a","user":{"userID":"u1","email":"jane@example.com","custom":{"plan":"pro","n":1.5,"on":true,"no":null,"list":["a",2,false,null]}}}`,
	` { "configName" : "a" , "user" : { "userID" : 42 , "ip" : null , "locale" : false, "customIDs" : { "stableID" : "s" , "n" : -7, "x": null } } } `,
	`{"layerName":"a","user":{"privateAttributes":{"e":1e-400},"statsigEnvironment":{"tier":"staging"}},"statsigMetadata":{"sdkType":"js","sdkVersion":"1","stableID":"s","exposureLoggingDisabled":"true","session":{}}}`,
	`{"gateName":"a","user":{},"statsigMetadata":{"exposureLoggingDisabled":true,"language":"de","x":1e300}}`,
	`{"user":{"custom":{},"customIDs":{},"privateAttributes":null}}`,
	`{"gateNames":["a","b"],"user":{"userID":"1"}}`,
	`{"gatename":"a","user":{"userid":"u","USERID":"v"}}`,
	`{"gateName":"a","\u0075ser":{"userID":"\ud83d\ude00\ud800x\u0000"}}`,
	`{"gateName":"a","user":{"userID":1.5,"custom":{"deep":{"a":{"b":1}},"deeper":[[1]]}}}`,
	`{"gateName":"a","user":{"userID":12345678901234567890,"custom":{"n":12345678901234567890,"z":-0}}}`,
	`{"gateName":"a","user":{"uſerID":"u","k":1,"K":2}}`,
	`{"gateName":"a","gateName":"b","user":{}}`, `{"x":1,"X":2,"user":{}}`,
	`{"gateName":"a","user":{"custom":{"a":1,"a":2}}}`, `{"gateName":"a","user":{"custom":{"a":1,"A":2}}}`,
	`{"gateName":"a","user":{"custom":{"n":1e400}}}`, `{"gateName":"a","user":{"userID":` + strings.Repeat("9", 400) + `}}`,
	`{"gateName":1,"user":{}}`, `{"user":"u"}`, `{"user":null}`, `{"user":{}} {}`, `{"user":{},}`, `{"user":{}`, `{"user":{"userID":01}}`,
	`{"user":{"userID":["a"]}}`, `{"user":{"custom":[]}}`, `{"user":{"custom":[ ],"customIDs":[1]}}`, `{"user":{"customIDs":{"a":{}}}}`, `{"statsigMetadata":null}`, `{"statsigMetadata":[]}`,
	`null`, `[]`, ``, "\xef\xbb\xbf{}", "{\"user\":{\"userID\":\"\xff\"}}", "{\"user\":{\"userID\":\"a\nb\"}}",
	`{"user":{"userID":"` + strings.Repeat("x", 70_000) + `"}}`, `{"user":{},"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
}

// initializeBodies are bodies of initialize requests, as SDKs send them and odd.
var initializeBodies = []string{
	`{"user":{"userID":"u1","custom":{"plan":"pro"}},"hash":"djb2","deltasResponseRequested":false,"full_checksum":null,"sinceTime":0,"previousDerivedFields":{},` +
		`"statsigMetadata":{"sdkType":"javascript-client","sdkVersion":"3.33.5","stableID":"s","sessionID":"x","list":[]}}`,
	`{"hash":"none","user":{"customIDs":{"stableID":"s"}}}`, `{"hash":null}`, `{"hash":1}`, `{"HASH":"none"}`, `{"hash":"a","hash":"b"}`,
	`{"user":null,"hash":"sha256"}`, `{"prefetchUsers":{"a":{"userID":"b"}},"user":{}}`, `{"x":{ },"y":[ ],"user":{}}`, `{"x":{}`, `{"x":[}`, `{"x":{]}`, `{"x":{`,
	`{"statsigMetadata":{"exposureLoggingDisabled":{}}}`, `{"statsigMetadata":{"exposureLoggingDisabled":[]}}`, `{"gateName":1,"user":{}}`,
}

// agree fails the test unless a body is read as the strict reader does, which
// looks at it in three passes, or refused for the same.
func agree(t *testing.T, body []byte) {
	t.Helper()
	var want statsig.CheckRequest
	wantErr := web.DecodeJSON(body, &want, statsig.UserLimits)
	var got statsig.CheckRequest
	err := statsig.ReadCheck(body, &got)
	if !reflect.DeepEqual(err, wantErr) {
		t.Fatalf("ReadCheck(%.300q) = %v, want %v", body, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("ReadCheck(%.300q) (-want +got):\n%s", body, cmp.Diff(want, got))
	}
}

// agreeInitialize is agree for the body of an initialize request.
func agreeInitialize(t *testing.T, body []byte) {
	t.Helper()
	var want, got statsig.InitializeRequest
	wantErr := web.DecodeJSON(body, &want, statsig.UserLimits)
	err := statsig.ReadInitialize(body, &got)
	if !reflect.DeepEqual(err, wantErr) {
		t.Fatalf("ReadInitialize(%.300q) = %v, want %v", body, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("ReadInitialize(%.300q) (-want +got):\n%s", body, cmp.Diff(want, got))
	}
}

func TestBodiesAreReadInOnePassAsStrictly(t *testing.T) {
	for _, body := range slices.Concat(checkBodies, initializeBodies) {
		agree(t, []byte(body))
		agreeInitialize(t, []byte(body))
	}
}

func TestReadingWhatABrowserSendsAllocatesLittle(t *testing.T) {
	body := []byte(initializeBodies[0])
	// The text, the user, the map of its attributes and its room, the one attribute.
	if n := testing.AllocsPerRun(100, func() { _ = statsig.ReadInitialize(body, new(statsig.InitializeRequest)) }); n > 6 {
		t.Errorf("ReadInitialize() allocates %v times, want at most 6", n)
	}
}

func TestReadingAUsualCheckAllocatesLittle(t *testing.T) {
	body := []byte(`{"gateName":"a","user":{"userID":"u1","email":"jane@example.com","custom":{"plan":"pro"}},"statsigMetadata":{"sdkType":"js"}}`)
	// The text, the user, the map of its attributes and its room, the one attribute.
	if n := testing.AllocsPerRun(100, func() { _ = statsig.ReadCheck(body, new(statsig.CheckRequest)) }); n > 6 {
		t.Errorf("ReadCheck() allocates %v times, want at most 6", n)
	}
}

// FuzzReadCheck holds that both ways of reading a check agree.
func FuzzReadCheck(f *testing.F) {
	for _, body := range checkBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(agree)
}

// FuzzReadInitialize is the same of an initialize request.
func FuzzReadInitialize(f *testing.F) {
	for _, body := range initializeBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(agreeInitialize)
}
