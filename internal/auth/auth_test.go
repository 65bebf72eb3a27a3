package auth_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestAKeyNamesItsKindAndItsProject(t *testing.T) {
	for kind, prefix := range map[flags.KeyKind]string{flags.KeyServer: "secret-", flags.KeyClient: "client-", flags.KeyConsole: "console-"} {
		for _, project := range []string{"shop", "a_1", bus.OrgProject} {
			token, hash := auth.Generate(kind, project)
			if !strings.HasPrefix(token, prefix+project+"-") || hash != auth.Hash(token) {
				t.Errorf("Generate(%s, %s) = %s; want the prefix %s and its own hash", kind, project, token, prefix)
			}
			if got, err := auth.Parse(token); err != nil || got.Kind != kind || got.Project != project {
				t.Errorf("Parse(%s) = %v, %v; want %s of %s", token, got, err, kind, project)
			}
			if again, _ := auth.Generate(kind, project); again == token {
				t.Errorf("Generate(%s, %s) gave the same key twice", kind, project)
			}
		}
	}
}

func TestWhatIsNotAKeyIsMalformed(t *testing.T) {
	token, _ := auth.Generate(flags.KeyServer, "shop")
	random := strings.TrimPrefix(token, "secret-shop-")
	for _, bad := range []string{
		"", "secret", "secret-", "secret-shop", "secret-shop-", "secret--" + random, "Secret-shop-" + random, "srv-shop-" + random,
		"secret-SHOP-" + random, "secret-_other-" + random, "secret-shop.x-" + random, "secret-shop-" + random[:51], "secret-shop-" + random + "a",
		"secret-shop-" + strings.ToUpper(random), "secret-shop-" + random[:51] + "\n", "secret-" + strings.Repeat("a", 33) + "-" + random, token + "\x00", token + " ",
	} {
		if got, err := auth.Parse(bad); !errors.Is(err, auth.ErrMalformed) {
			t.Errorf("Parse(%q) = %v, %v; want ErrMalformed", bad, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	token, _ := auth.Generate(flags.KeyClient, "shop")
	f.Add(token)
	f.Add("secret-_org-")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := auth.Parse(token)
		if err == nil && !strings.Contains(token, "-"+got.Project+"-") {
			t.Errorf("Parse(%q) = %+v, which is not in the token", token, got)
		}
	})
}

// shop is a project with keys; asked counts how often its state was asked for.
type shop struct {
	state *flags.State
	asked map[string]int
	err   error
}

func (s *shop) states(_ context.Context, project string) (*flags.State, error) {
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[project]++
	if s.err != nil {
		return nil, s.err
	}
	if project != "shop" {
		return nil, bus.ErrUnknownProject
	}
	return s.state, nil
}

func (s *shop) key(id string, kind flags.KeyKind, change func(*flags.Key)) string {
	token, hash := auth.Generate(kind, "shop")
	key := &flags.Key{ID: id, Name: id, Kind: kind, Hash: hex.EncodeToString(hash[:]), Environments: []string{"production"}}
	if change != nil {
		change(key)
	}
	if s.state == nil {
		s.state = flags.NewState("shop")
	}
	s.state = s.state.Put(flags.Entity{Ref: key.Ref(), Name: key.Name, Doc: key, Version: 1, Seq: s.state.Seq() + 1})
	return token
}

func TestAKeyIsResolvedToItsScope(t *testing.T) {
	var s shop
	good := s.key("key_1", flags.KeyServer, nil)
	past, soon := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	expired := s.key("key_2", flags.KeyClient, func(k *flags.Key) { k.ExpiresAt = &past })
	revoked := s.key("key_3", flags.KeyClient, func(k *flags.Key) { k.Revoked = true })
	lasting := s.key("key_4", flags.KeyClient, func(k *flags.Key) { k.ExpiresAt = &soon })
	lying := s.key("key_5", flags.KeyClient, func(k *flags.Key) { k.Kind = flags.KeyServer })
	unknown, _ := auth.Generate(flags.KeyServer, "shop")
	elsewhere, _ := auth.Generate(flags.KeyServer, "other")
	r := auth.NewResolver(s.states, "test", nil)

	for _, c := range []struct {
		name, token string
		want        error
	}{
		{"a key that was made", good, nil},
		{"a key that expires later", lasting, nil},
		{"a key that expired", expired, auth.ErrExpired},
		{"a key that was revoked", revoked, auth.ErrRevoked},
		{"a key that nobody made", unknown, auth.ErrUnknownKey},
		{"a key of no project", elsewhere, auth.ErrUnknownKey},
		{"a key whose prefix lies about its kind", lying, auth.ErrUnknownKey},
		{"no key at all", "hello", auth.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := r.Resolve(t.Context(), c.token); !errors.Is(err, c.want) {
				t.Errorf("Resolve() = %v, want %v", err, c.want)
			}
		})
	}
	p, err := r.Resolve(t.Context(), good)
	if err != nil || p.Project != "shop" || p.Key.ID != "key_1" || p.Scope.Kind != flags.KeyServer || p.State.Seq() != s.state.Seq() || p.Admin() {
		t.Errorf("Resolve() = %+v, %v; want key_1 of shop", p, err)
	}
}

// A text that was seen before is not read again; the key behind it is asked anew.
func TestAKeyThatWasLetInIsRefusedAtOnceWhenItIsTakenBack(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for _, c := range []struct {
		name   string
		change func(*flags.Key)
		want   error
	}{
		{"revoked", func(k *flags.Key) { k.Revoked = true }, auth.ErrRevoked},
		{"expired", func(k *flags.Key) { past := soon.Add(-2 * time.Hour); k.ExpiresAt = &past }, auth.ErrExpired},
		{"made anew with another text", func(k *flags.Key) { hash := auth.Hash("other"); k.Hash = hex.EncodeToString(hash[:]) }, auth.ErrUnknownKey},
		{"made one of another kind", func(k *flags.Key) { k.Kind = flags.KeyClient }, auth.ErrUnknownKey},
		{"left as it was", func(*flags.Key) {}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s shop
			token := s.key("key_1", flags.KeyServer, func(k *flags.Key) { k.ExpiresAt = &soon })
			r := auth.NewResolver(s.states, "test", nil)
			before, err := r.Resolve(t.Context(), token)
			if err != nil {
				t.Fatalf("Resolve() = %v, want nil", err)
			}
			key := *before.Key
			key.Environments = []string{"staging"}
			c.change(&key)
			s.state = s.state.Put(flags.Entity{Ref: key.Ref(), Name: key.Name, Doc: &key, Version: 2, Seq: s.state.Seq() + 1})
			p, err := r.Resolve(t.Context(), token)
			if !errors.Is(err, c.want) || err == nil && (p.State != s.state || p.Scope.Environments[0] != "staging") {
				t.Errorf("Resolve() = %+v, %v; want %v", p, err, c.want)
			}
		})
	}
}

func TestAKeyThatChangedIsLookedAtAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*flags.Key)
		want   error
	}{
		{"described anew", func(k *flags.Key) { k.Description = "for the shop" }, nil},
		{"revoked", func(k *flags.Key) { k.Revoked = true }, auth.ErrRevoked},
		{"expired", func(k *flags.Key) { k.ExpiresAt = new(time.Now().Add(-time.Hour)) }, auth.ErrExpired},
		{"made anew with another text", func(k *flags.Key) { hash := auth.Hash("other"); k.Hash = hex.EncodeToString(hash[:]) }, auth.ErrUnknownKey},
		{"given other environments", func(k *flags.Key) { k.Environments = []string{"staging"} }, auth.ErrKeyMoved},
		{"given other target apps", func(k *flags.Key) { k.TargetApps = []string{"web"} }, auth.ErrKeyMoved},
		{"given other origins", func(k *flags.Key) { k.Origins = []string{"https://shop.example"} }, auth.ErrKeyMoved},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s shop
			s.key("key_1", flags.KeyClient, nil)
			e, _ := s.state.Get(flags.Ref{Kind: flags.KindKey, ID: "key_1"})
			before := e.Doc.(*flags.Key)
			key := *before
			c.change(&key)
			s.state = s.state.Put(flags.Entity{Ref: key.Ref(), Name: key.Name, Doc: &key, Version: 2, Seq: s.state.Seq() + 1})
			now, err := auth.Again(s.state, before)
			if !errors.Is(err, c.want) || err == nil && now != &key {
				t.Errorf("Again() = %+v, %v; want the key as it is now, %v", now, err, c.want)
			}
		})
	}
	if now, err := auth.Again(flags.NewState("shop"), &flags.Key{ID: "key_1"}); !errors.Is(err, auth.ErrUnknownKey) {
		t.Errorf("Again() of a key that is gone = %+v, %v; want %v", now, err, auth.ErrUnknownKey)
	}
}

func TestUnknownProjectsAreNotAskedForAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shop
		r := auth.NewResolver(s.states, "test", nil)
		for range 10_000 {
			token, _ := auth.Generate(flags.KeyServer, "nowhere")
			if _, err := r.Resolve(t.Context(), token); !errors.Is(err, auth.ErrUnknownKey) {
				t.Fatalf("Resolve() = %v, want ErrUnknownKey", err)
			}
		}
		if s.asked["nowhere"] != 1 {
			t.Errorf("10,000 unknown keys asked for their project %d times, want once", s.asked["nowhere"])
		}
		time.Sleep(3 * time.Second)
		token, _ := auth.Generate(flags.KeyServer, "nowhere")
		_, _ = r.Resolve(t.Context(), token)
		if s.asked["nowhere"] != 2 {
			t.Errorf("later the project was asked for %d times in all, want twice: it may have been made meanwhile", s.asked["nowhere"])
		}
	})
}

func request(token, from string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = from
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestGuessingIsSlowedDownPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shop
		good := s.key("key_1", flags.KeyServer, nil)
		r := auth.NewResolver(s.states, "test", nil)
		guess := func(i int, from string) int {
			token, _ := auth.Generate(flags.KeyServer, []string{"shop", "p" + strings.Repeat("x", i%30)}[i%2])
			req := request(token, from, "X-Forwarded-For", "203.0.113.9")
			_, err := r.Request(req, auth.Token(req))
			return web.StatusOf(err)
		}
		statuses := map[int]int{}
		for i := range 200 {
			statuses[guess(i, "192.0.2.1:1000")]++
		}
		if statuses[401] != 20 || statuses[429] != 180 {
			t.Errorf("200 guesses answered %v, want 20 times 401 and then 429", statuses)
		}
		asked := 0
		for _, n := range s.asked {
			asked += n
		}
		if asked > 220 {
			t.Errorf("200 guesses asked for states %d times", asked)
		}
		if got := guess(1, "192.0.2.2:1000"); got != 401 {
			t.Errorf("another address got %d, want 401", got)
		}
		if _, err := r.Request(request(good, "192.0.2.1:2000"), good); err != nil {
			t.Errorf("a good key from the guessing address got %v, want to be let in", err)
		}
		time.Sleep(5 * time.Second)
		if got := guess(0, "192.0.2.1:1000"); got != 401 {
			t.Errorf("after a pause the address got %d, want 401", got)
		}
	})
}

func TestARequestIsToldLittleAboutARefusedKey(t *testing.T) {
	var s shop
	good := s.key("key_1", flags.KeyServer, nil)
	revoked := s.key("key_2", flags.KeyServer, func(k *flags.Key) { k.Revoked = true })
	unknown, _ := auth.Generate(flags.KeyServer, "shop")
	r := auth.NewResolver(s.states, "test", nil)
	messages := map[string]bool{}
	for _, token := range []string{revoked, unknown, "hello"} {
		_, err := r.Request(request(token, "192.0.2.1:1"), token)
		e, ok := errors.AsType[*web.Error](err)
		if !ok || e.Code != web.CodeUnauthenticated {
			t.Fatalf("Request(%q) = %v, want unauthenticated", token, err)
		}
		messages[e.Message] = true
	}
	if len(messages) != 1 {
		t.Errorf("refused keys were told %v, want the same text for all", messages)
	}
	if _, err := r.Request(request("", "192.0.2.1:1"), ""); web.StatusOf(err) != 401 {
		t.Errorf("no key = %v, want 401", err)
	}
	if _, err := r.Request(request(good, "192.0.2.1:1", "Origin", "https://example.test"), good); web.StatusOf(err) != 403 {
		t.Errorf("a server key with an Origin = %v, want 403", err)
	}
	s.err = errors.New("bus is away")
	if _, err := r.Request(request(good, "192.0.2.1:1"), good); web.StatusOf(err) != 503 {
		t.Errorf("with the bus away = %v, want 503", err)
	}
}

func TestTheKeyIsTakenFromHeadersOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		header map[string]string
		want   string
	}{
		{"bearer", map[string]string{"Authorization": "Bearer abc"}, "abc"},
		{"bearer in any case", map[string]string{"Authorization": "bearer abc"}, "abc"},
		{"the header of Statsig's SDKs", map[string]string{"STATSIG-API-KEY": "abc"}, "abc"},
		{"another scheme", map[string]string{"Authorization": "Basic abc"}, ""},
		{"nothing", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/?k=xyz&api_key=xyz", nil)
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			if got := auth.Token(r); got != c.want {
				t.Errorf("Token() = %q, want %q", got, c.want)
			}
		})
	}
}

func TestAKeyInAQueryIsRefusedUnlessItIsTheClientKeyOfABeacon(t *testing.T) {
	var s shop
	server, client, console := s.key("key_1", flags.KeyServer, nil), s.key("key_2", flags.KeyClient, nil), s.key("key_3", flags.KeyConsole, nil)
	unknown, _ := auth.Generate(flags.KeyServer, "shop")
	r := auth.NewResolver(s.states, "test", nil)
	for _, c := range []struct {
		name, query, token, origin string
		want                       int
	}{
		{"a beacon", "st=js&k=" + client, client, "https://shop.example", 200},
		{"a client key as another parameter", "key=" + client, client, "", 400},
		{"a client key beside the one that is shown", "k=" + client, server, "", 400},
		{"a client key in k that is not looked at", "k=" + client, "", "", 400},
		{"a server key in k", "k=" + server, server, "", 400},
		{"a server key that nobody made", "k=" + unknown, unknown, "", 400},
		{"a server key in k of a page", "k=" + server, server, "https://shop.example", 403},
		{"a console key", "k=" + console, console, "", 400},
		{"a server key in any parameter", "a=1&anything=" + server, client, "", 400},
		{"a server key that is written otherwise", "anything=" + strings.ReplaceAll(server, "-", "%2D"), client, "", 400},
		{"a server key that is no parameter", server, client, "", 400},
		{"a server key in a page's query", "a=" + server, client, "https://shop.example", 400},
		{"a server key in a page's query, and none shown", "a=" + server, "", "https://shop.example", 400},
		{"what only begins like one", "next=secret-shop-" + strings.Repeat("%", 60), client, "", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := request(c.token, "192.0.2.1:1")
			req.URL.RawQuery = c.query
			if c.origin != "" {
				req.Header.Set("Origin", c.origin)
			}
			_, err := r.Request(req, c.token)
			got := 200
			if err != nil {
				got = web.StatusOf(err)
			}
			if got != c.want {
				t.Errorf("Request(?%s) = %d %v, want %d", c.query, got, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), strings.TrimPrefix(server, "secret-shop-")) {
				t.Errorf("Request(?%s) says the key: %v", c.query, err)
			}
		})
	}
}

func TestAGoodKeyIsLetInFromAnAddressThatGuessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shop
		good := s.key("key_1", flags.KeyServer, nil)
		r := auth.NewResolver(s.states, "test", nil)
		for range 100 {
			guess, _ := auth.Generate(flags.KeyServer, "nowhere")
			_, _ = r.Request(request(guess, "192.0.2.1:1"), guess)
		}
		// Nobody has asked for the project shop yet: this node does not know it.
		if _, err := r.Request(request(good, "192.0.2.1:2"), good); err != nil {
			t.Errorf("a good key of a project that is new here = %v, want to be let in", err)
		}
	})
}

func TestQuestionsAboutUnknownProjectsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		r := auth.NewResolver(func(context.Context, string) (*flags.State, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(100 * time.Millisecond) // the bubble's time: what a bus may take
			return nil, bus.ErrUnknownProject
		}, "test", nil)
		var all sync.WaitGroup
		var answered [600]int
		for i := range answered {
			all.Go(func() {
				guess, _ := auth.Generate(flags.KeyServer, fmt.Sprintf("p%d", i))
				_, err := r.Request(request(guess, fmt.Sprintf("192.0.2.%d:1", i%250)), guess)
				answered[i] = web.StatusOf(err)
			})
		}
		all.Wait()
		if got := most.Load(); got > 4 {
			t.Errorf("%d questions were asked at a time, want at most 4", got)
		}
		counts := map[int]int{}
		for _, status := range answered {
			counts[status]++
		}
		if counts[503] == 0 || counts[401] < 100 || counts[401]+counts[503] != len(answered) {
			t.Errorf("600 keys of unknown projects at once were answered %v, want some 401 and 503 for those whose turn did not come", counts)
		}
	})
}

func TestAKeyIsForItsOrigins(t *testing.T) {
	var s shop
	bound := s.key("key_1", flags.KeyClient, func(k *flags.Key) { k.Origins = []string{"https://shop.example", "http://localhost:3000"} })
	free := s.key("key_2", flags.KeyClient, nil)
	server := s.key("key_3", flags.KeyServer, nil)
	reg := prometheus.NewRegistry()
	r := auth.NewResolver(s.states, "test", reg)
	for _, c := range []struct {
		name, token, origin string
		want                int
	}{
		{"a page that is named", bound, "https://shop.example", 200},
		{"a page with a port", bound, "http://localhost:3000", 200},
		{"another page", bound, "https://other.example", 403},
		{"the same host, another scheme", bound, "http://shop.example", 403},
		{"a page below", bound, "https://a.shop.example", 403},
		{"a page without an origin of its own", bound, "null", 403},
		{"an app", bound, "", 200},
		{"a key without a list", free, "https://other.example", 200},
		{"a server key in a page", server, "https://shop.example", 403},
		{"a server key", server, "", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := request(c.token, "192.0.2.1:1")
			if c.origin != "" {
				req.Header.Set("Origin", c.origin)
			}
			got := 200
			if _, err := r.Request(req, c.token); err != nil {
				got = web.StatusOf(err)
			}
			if got != c.want {
				t.Errorf("Request(Origin: %q) = %d, want %d", c.origin, got, c.want)
			}
		})
	}
	want := `
# HELP keys_refused_total Requests that were refused for their key, by reason.
# TYPE keys_refused_total counter
keys_refused_total{door="test",reason="flood"} 0
keys_refused_total{door="test",reason="key"} 0
keys_refused_total{door="test",reason="origin"} 4
keys_refused_total{door="test",reason="server"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
