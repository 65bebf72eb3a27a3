package config

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// redacted is all that a secret shows of itself.
const redacted = "[redacted]"

// A Secret is a setting that never prints. A value of the form @path is read
// from that file, so that secrets need not stand in an environment or in a list
// of processes.
type Secret struct{ value string }

// Reveal returns the text. The name is long on purpose: it is easy to search for.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether no secret was given.
func (s Secret) IsZero() bool { return s.value == "" }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Secret) UnmarshalText(text []byte) error {
	path, isFile := strings.CutPrefix(string(text), "@")
	if !isFile {
		s.value = string(text)
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading a secret from its file: %w", err)
	}
	s.value = strings.TrimSpace(string(content))
	return nil
}

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return redacted }

// MarshalText implements [encoding.TextMarshaler], and so JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
