package eval

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"unicode"
	"unicode/utf16"
)

// A HashMode says how entity names appear in a client payload.
type HashMode uint8

// The hash modes. The zero value is what browsers ask for when they do not say.
const (
	HashDJB2 HashMode = iota
	HashSHA256
	HashNone
	hashModes = 3
)

// String returns the mode's name on the wire.
func (m HashMode) String() string {
	switch m {
	case HashSHA256:
		return "sha256"
	case HashNone:
		return "none"
	}
	return "djb2"
}

// ParseHashMode reads a mode's name; anything unknown is djb2, the default.
func ParseHashMode(s string) HashMode {
	switch s {
	case "sha256":
		return HashSHA256
	case "none":
		return HashNone
	}
	return HashDJB2
}

// HashName returns name as a payload of the mode spells it. djb2 runs over UTF-16,
// as in browsers.
func HashName(mode HashMode, name string) string {
	switch mode {
	case HashNone:
		return name
	case HashSHA256:
		sum := sha256.Sum256([]byte(name))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	var h uint32
	for _, c := range name {
		if high, low := utf16.EncodeRune(c); high != unicode.ReplacementChar {
			h, c = h*31+uint32(high), low
		}
		h = h*31 + uint32(c)
	}
	return strconv.FormatUint(uint64(h), 10)
}
