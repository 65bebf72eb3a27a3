package statsig

import (
	"maps"

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

// Subject returns the user to evaluate for. Older browser SDKs send the stable
// id beside the user and not in it.
func (r InitializeRequest) Subject() eval.User {
	var u eval.User
	if r.User != nil {
		u = *r.User
	}
	if id := r.Metadata.StableID; id != "" && u.CustomIDs["stableID"] == "" {
		u.CustomIDs = maps.Clone(u.CustomIDs)
		if u.CustomIDs == nil {
			u.CustomIDs = make(map[string]string, 1)
		}
		u.CustomIDs["stableID"] = id
	}
	return u
}
