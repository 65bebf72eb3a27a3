package flags

import (
	"encoding/json"
)

// A Document is the whole of one entity as people edit it. The documents of this
// package are its only implementations.
//
// A document that is part of a [State] is shared by everyone who reads it and
// must not be changed; [Clone] makes a copy that may be.
type Document interface {
	// Ref names the entity. Its id is empty until the document got one.
	Ref() Ref
	// DocName is the name that code uses.
	DocName() string

	// header gives access to what all documents have.
	header() header
	// normalize brings the document into its one canonical form and fills in
	// what may be left out.
	normalize()
	// validate reports what is wrong with the document on its own and with
	// what it refers to.
	validate(*validation)
	// references calls yield for each mention of another entity.
	references(yield func(mention))
}

// header points at what every document has.
type header struct {
	id, name *string
	about    *About
	archived bool // nothing evaluates it or may refer to it
}

// About is what people write about an entity for one another. None of it
// changes an evaluation.
type About struct {
	DisplayName string   `json:"displayName,omitempty"`
	Description string   `json:"description,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	Team        string   `json:"team,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	// Metadata is free: the one member whose inside is not checked.
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// A mention is one place in a document that names another entity.
type mention struct {
	pointer string
	kind    Kind
	name    string // as written: a name or an id
	decides bool   // evaluating the document evaluates what it mentions
}
