package statsig

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// An InitializeRequest is the body of POST /v1/initialize, as far as it decides
// the answer.
type InitializeRequest struct {
	User     *eval.User `json:"user"`
	Hash     string     `json:"hash"` // djb2 when absent
	Metadata Metadata   `json:"statsigMetadata"`
}

// Metadata is what an SDK says of itself.
type Metadata struct {
	SDKType    string `json:"sdkType"`
	SDKVersion string `json:"sdkVersion"`
	StableID   string `json:"stableID"`

	// ExposureLoggingDisabled asks the server API not to record an exposure.
	ExposureLoggingDisabled Flag `json:"exposureLoggingDisabled"`
}

// A Flag is a boolean that some callers send as text.
type Flag bool

// UnmarshalJSON reads true and "true" as true, and everything else as false.
func (f *Flag) UnmarshalJSON(text []byte) error {
	s := string(text)
	*f = s == "true" || s == `"true"`
	return nil
}

// SDK is what the request says of the SDK that sent it: in its body, or as older
// and newer ones do in headers and the query.
func (m *Metadata) SDK(r *http.Request) (kind, version string) {
	kind = cmp.Or(m.SDKType, r.Header.Get("Statsig-Sdk-Type"), parameter(r, "st"))
	version = cmp.Or(m.SDKVersion, r.Header.Get("Statsig-Sdk-Version"), parameter(r, "sv"))
	return cut(kind), cut(version)
}

// maxSDK bounds what is kept of an SDK's name and of its version.
const maxSDK = 100

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxSDK)], "") }

// Subject completes the user of a request, nobody in particular if it names none.
// Older browser SDKs send the stable id beside the user and not in it.
func (m *Metadata) Subject(user *eval.User) *eval.User {
	if user == nil {
		user = new(eval.User)
	}
	if id := m.StableID; id != "" && user.CustomIDs["stableID"] == "" {
		if user.CustomIDs == nil {
			user.CustomIDs = make(map[string]string, 1)
		}
		user.CustomIDs["stableID"] = id
	}
	return user
}
