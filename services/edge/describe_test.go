package edge_test

import (
	"net/http"
	"testing"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/web/webtest"
	"github.com/sluice-flags/sluice/services/edge"
)

func TestEveryRouteIsDescribedAndNothingElse(t *testing.T) {
	service, err := edge.New(edge.Deps{Bus: new(bus.Conn), Followers: follow.NewSet(follow.SetOptions{})}, edge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	service.Register(mux)
	webtest.CheckDescription(t, mux, "edge.yaml")
}
