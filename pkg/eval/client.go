package eval

// ClientOptions say for which client a payload is made.
type ClientOptions struct {
	Hash      HashMode
	ClientKey string // finds the target app and the allow-list
	TargetApp string // wins over the key's

	SDKType, SDKVersion string // echoed as sdkInfo
}
