package sdks_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

// Every server SDK downloads a long id list, and those that ask often enough for
// a test to see it read the file on when ids come and go. The edge's own answer is
// held to theirs, and what clients are told is.
func TestEveryServerSDKAsksIDLists(t *testing.T) {
	t.Parallel()
	p := harness.Shared(t)
	lab := sdks.NewLab(t)
	shop := p.NewProject("lists")
	shop.Create("segments", harness.Doc{"name": "members", "type": "idList", "unitType": "companyID", "rules": []harness.Doc{}})
	shop.Create("gates", harness.Doc{"name": "listed", "unitType": "companyID", "rules": []harness.Doc{{
		"passPercentage": 100, "conditions": []harness.Doc{{"type": "passes_segment", "targetValue": "members"}},
	}}})
	var lines bytes.Buffer
	const many = 200_000
	for i := range many {
		fmt.Fprintf(&lines, "{\"add\":\"company-%d\"}\n", i)
	}
	shop.SetIDs("members", lines.Bytes())

	of := func(company string) sdks.User {
		return sdks.User{"userID": "somebody", "customIDs": map[string]string{"companyID": company}}
	}
	last := fmt.Sprint("company-", many-1)
	for n, sdk := range sdks.Servers() {
		t.Run(sdk.Name, func(t *testing.T) {
			i := lab.Start(t, sdk).Open(sdks.Setup{Base: p.HTTP, Key: shop.Server})
			defer i.Close()
			answers := func(want map[string]bool) {
				t.Helper()
				harness.Within(t, 30*time.Second, func() error {
					for company, want := range want {
						if got := i.Gate(of(company), "listed"); got != want {
							return fmt.Errorf("the gate of %q is %v, want %v", company, got, want)
						}
					}
					return nil
				})
			}
			came, went := "late for "+sdk.Name, fmt.Sprint("company-", n)
			answers(map[string]bool{last: true, went: true, came: false, "company--1": false, "": false})
			shop.SetIDs("members", harness.Doc{"add": []string{came}, "remove": []string{went}})
			if sdk.Name == "statsig-node" {
				return // it asks for lists twice a minute at most
			}
			answers(map[string]bool{last: true, went: false, came: true})
		})
	}
	for company, want := range map[string]bool{last: true, "late for go-sdk": true, "company-0": false} {
		body := harness.Doc{"gateName": "listed", "user": of(company)}
		if a := shop.Must(200, nil, shop.Server, "POST", "/v1/check_gate", body); strings.Contains(string(a.Body), `"value":true`) != want {
			t.Errorf("the edge's own answer for %q = %s, want %v", company, a.Body, want)
		}
	}
}
