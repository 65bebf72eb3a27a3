package ingest_test

import (
	"net/http"
	"testing"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/web/webtest"
	"github.com/sluice-flags/sluice/services/ingest"
)

func TestEveryRouteIsDescribedAndNothingElse(t *testing.T) {
	service, err := ingest.New(ingest.Deps{Bus: new(bus.Conn), Followers: follow.NewSet(follow.SetOptions{})}, ingest.Options{AcceptOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	service.Register(mux)
	webtest.CheckDescription(t, mux, "ingest.yaml")
}
