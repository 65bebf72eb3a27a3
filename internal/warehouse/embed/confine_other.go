//go:build !linux

package embed

import "errors"

func canConfine() bool { return false }

func confine(string, string, []string) error { return errors.ErrUnsupported }
