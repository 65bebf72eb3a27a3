package embed

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// analystIn is what a users' file says of the analyst: its limits, and what it is
// granted.
func analystIn(t *testing.T, text []byte) (said []string) {
	t.Helper()
	var file struct {
		Profile struct {
			Inner string `xml:",innerxml"`
		} `xml:"profiles>analyst"`
		Grants []string `xml:"users>analyst>grants>query"`
	}
	if err := xml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(file.Profile.Inner) {
		if line = strings.TrimSpace(line); line != "" {
			said = append(said, line)
		}
	}
	return append(said, file.Grants...)
}

func TestTheAnalystOfAServerMayDoWhatTheEmbeddedOneMay(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "compose", "clickhouse-users.xml"))
	if err != nil {
		t.Fatal(err)
	}
	server, ours := analystIn(t, text), analystIn(t, fmt.Appendf(nil, usersXML, "", ""))
	if len(ours) == 0 {
		t.Fatal("the embedded engine has no analyst")
	}
	if diff := cmp.Diff(ours, server); diff != "" {
		t.Errorf("limits and grants (-embedded +deploy):\n%s", diff)
	}
}
