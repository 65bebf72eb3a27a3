package statsig_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
)

func TestAKeyIsFoundWhereTheProtocolPutsIt(t *testing.T) {
	for name, test := range map[string]struct {
		target string
		header []string
		want   string
	}{
		"header":                  {"/v1/rgstr", []string{"statsig-api-key", "client-a-b"}, "client-a-b"},
		"bearer":                  {"/v1/rgstr", []string{"Authorization", "Bearer client-a-b"}, "client-a-b"},
		"query, as from a beacon": {"/v1/rgstr?k=client-a-b&st=js", nil, "client-a-b"},
		"header before query":     {"/v1/rgstr?k=client-c-d", []string{"statsig-api-key", "client-a-b"}, "client-a-b"},
		"nowhere":                 {"/v1/rgstr", nil, ""},
	} {
		r := httptest.NewRequest(http.MethodPost, test.target, nil)
		for i := 0; i < len(test.header); i += 2 {
			r.Header.Set(test.header[i], test.header[i+1])
		}
		if got := statsig.Token(r); got != test.want {
			t.Errorf("%s: Token() = %q, want %q", name, got, test.want)
		}
	}
}

func TestPagesOfAnyOriginMayCallAndReadRefusals(t *testing.T) {
	mux := http.NewServeMux()
	statsig.Pages.Handle(mux, "POST", "/v1/rgstr", func(http.ResponseWriter, *http.Request) error {
		return web.Errorf(web.CodeForbidden, "no")
	})
	for method, want := range map[string]int{http.MethodOptions: http.StatusNoContent, http.MethodPost: http.StatusForbidden} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, "/v1/rgstr", nil))
		if origin := w.Header().Get("Access-Control-Allow-Origin"); w.Code != want || origin != "*" {
			t.Errorf("%s = %d, allowed origin %q; want %d for any", method, w.Code, origin, want)
		}
	}
}
