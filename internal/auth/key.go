// Package auth decides who is asking.
//
// A key is a bearer of 256 random bits whose text names its kind and its
// project: secret-<project>-…, client-<project>-…, console-<project>-…. It is
// shown once, when it is made; only its SHA-256 hash is kept, and a random key
// needs no slower one. Which keys are let in is part of a project's state, so a
// node that follows a project needs to ask nobody, and a key that is revoked is
// refused as soon as that change arrives.
package auth

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// prefixes are what keys begin with. Statsig's SDKs insist on the first two.
var prefixes = map[flags.KeyKind]string{
	flags.KeyServer:  "secret",
	flags.KeyClient:  "client",
	flags.KeyConsole: "console",
}

// encoding writes 32 bytes as 52 characters.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Parsed is what the text of a key says about itself. It proves nothing.
type Parsed struct {
	Kind    flags.KeyKind
	Project string
}

// ErrMalformed says that a text is not a key.
var ErrMalformed = errors.New("not a key")

// Generate makes a key of a kind for a project. The token is shown once; the
// hash is what is stored.
func Generate(kind flags.KeyKind, project string) (token string, hash [32]byte) {
	var random [32]byte
	rand.Read(random[:]) // never fails: the runtime ends the process instead
	token = prefixes[kind] + "-" + project + "-" + encoding.EncodeToString(random[:])
	return token, Hash(token)
}

// Parse reads what a key says about itself, or returns [ErrMalformed].
func Parse(token string) (Parsed, error) {
	prefix, rest, _ := strings.Cut(token, "-")
	project, random, _ := strings.Cut(rest, "-")
	if !bus.ValidProject(project) {
		return Parsed{}, ErrMalformed
	}
	if raw, err := encoding.DecodeString(random); err != nil || len(raw) != 32 || len(random) != encoding.EncodedLen(32) {
		return Parsed{}, ErrMalformed
	}
	for kind, p := range prefixes {
		if p == prefix {
			return Parsed{Kind: kind, Project: project}, nil
		}
	}
	return Parsed{}, ErrMalformed
}

// Hash is what is stored of a key.
func Hash(token string) [32]byte {
	return sha256.Sum256(append(make([]byte, 0, 128), token...)) // without a copy on the heap
}

// Hint is what may be shown of a key for people to tell keys apart.
func Hint(token string) string { return token[max(0, len(token)-4):] }

// Token returns the key that a request shows in its headers, or "". A key in a
// URL is never looked at here: URLs end up in logs.
func Token(r *http.Request) string { return cmp.Or(Bearer(r), r.Header.Get("Statsig-Api-Key")) }

// Bearer returns the token of a request's Authorization header, or "".
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
