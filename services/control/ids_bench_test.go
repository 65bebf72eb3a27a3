package control_test

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkIDs is an id list from request to answer: read, hashed, decided, cut into
// batches, appended as one commit, synced, folded, readable. To load is to replace
// all members; beside it stands one id more.
//
//	go test -bench IDs -benchtime 5x ./services/control
func BenchmarkIDs(b *testing.B) {
	n := start(b, startNATS(b, b.TempDir()), "")
	admin, err := n.service.EnsureAdmin(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	n.must(201, "POST", "/api/v1/projects", admin, `{"name":"shop"}`)
	lines := func(prefix string, count int) string {
		var body strings.Builder
		for i := range count {
			fmt.Fprintf(&body, "{\"add\":\"%s-%d\"}\n", prefix, i)
		}
		return body.String()
	}
	const count = 200_000
	n.must(201, "POST", "/api/v1/projects/shop/segments", admin, `{"name":"vips","type":"idList","rules":[]}`)
	const ids = "/api/v1/projects/shop/segments/vips/ids"
	b.Run("load 200,000", func(b *testing.B) {
		bodies := []string{lines("even", count), lines("odd", count)}
		for i := 0; b.Loop(); i++ {
			n.must(200, "PUT", ids, admin, bodies[i%2], "If-Match", "*", "Content-Type", "application/x-ndjson")
		}
		b.ReportMetric(count*float64(b.N)/b.Elapsed().Seconds(), "ids/s")
	})
	b.Run("one beside 200,000", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			verb := []string{"add", "remove"}[i%2]
			n.must(200, "PATCH", ids, admin, fmt.Sprintf(`{%q:["one more"]}`, verb), "If-Match", "*")
		}
	})
}
