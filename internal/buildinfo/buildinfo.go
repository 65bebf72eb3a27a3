// Package buildinfo says which build is running, from what the Go tool stamped
// into the binary: nothing has to be passed to the linker.
package buildinfo

import (
	"runtime/debug"
	"sync"
)

// Info names a build.
type Info struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

// Read returns the running build.
var Read = sync.OnceValue(func() Info {
	info := Info{Version: "unknown"}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	info.Version, info.Go = build.Main.Version, build.GoVersion
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Revision = s.Value
		case "vcs.time":
			info.Time = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		}
	}
	return info
})

// String implements fmt.Stringer.
func (i Info) String() string {
	text := i.Version
	if len(i.Revision) >= 12 {
		text += " " + i.Revision[:12]
	}
	if i.Modified {
		text += " modified"
	}
	return text + " " + i.Go
}
