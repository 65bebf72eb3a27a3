package schemas_test

import (
	"encoding/json"
	"io/fs"
	"path"
	"testing"

	"github.com/sluice-flags/sluice/schemas"
)

func TestWhatIsEmbeddedCanBeRead(t *testing.T) {
	for name, folder := range map[string]fs.FS{
		"documents": schemas.Documents, "events": schemas.Events, "facts": schemas.Facts, "live": schemas.Live,
		"openapi": schemas.OpenAPI, "clickhouse": schemas.ClickHouse,
	} {
		if _, err := fs.Stat(folder, "."); err != nil {
			t.Logf("%s is still empty", name)
			continue
		}
		files := 0
		err := fs.WalkDir(folder, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			raw, err := fs.ReadFile(folder, p)
			if err != nil {
				return err
			}
			if path.Ext(p) == ".json" && !json.Valid(raw) {
				t.Errorf("%s/%s is not JSON", name, p)
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Errorf("%s: %d files, %v; want to read some", name, files, err)
		}
	}
	if _, err := fs.ReadFile(schemas.Documents, "gate.schema.json"); err != nil {
		t.Error(err)
	}
}
