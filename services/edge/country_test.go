package edge_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/services/edge"
)

type everywhere string

func (e everywhere) Country(string) (string, bool) { return string(e), true }

func TestAnEdgeWithoutACountryTableSaysSoOnce(t *testing.T) {
	conn := startNATS(t).connect(t)
	for name, test := range map[string]struct {
		country eval.CountryLookup
		want    int
	}{"without a table": {nil, 1}, "with a table": {everywhere("SE"), 0}} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			service, err := edge.New(edge.Deps{
				Bus: conn, Followers: follow.NewSet(follow.SetOptions{}), Country: test.country,
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			}, edge.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			stop() // it starts, says what it has to say, and ends
			if err := service.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("Run() = %v", err)
			}
			if got := strings.Count(log.String(), "no country table"); got != test.want {
				t.Errorf("the log says %d times that there is no country table, want %d:\n%s", got, test.want, log.String())
			}
		})
	}
}
