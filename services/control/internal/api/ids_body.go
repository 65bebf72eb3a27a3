package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// idStream bounds a body of ids that comes line by line and is never held: two
// million ids of common length.
var idStream = web.Limits{Raw: 256 << 20, Inflated: 512 << 20}

const (
	maxIDLine     = 16 << 10           // bytes of one line
	maxIDLines    = 2*flags.MaxIDs + 1 // of one body: as many changes as can be made at once, and the name of the column
	mostMistakes  = 100                // that are told of one body
	idUploadLasts = 10 * time.Minute
)

// idChanges reads the body of a write to an id list: JSON like any other body, or
// lines of any number. Replacing takes ids, changing also says which to take out.
//
//	application/json      {"add": ["u1"], "remove": ["u2"]}, or {"ids": ["u1"]} to replace
//	application/x-ndjson  {"add": "u1"} or {"remove": "u2"} in each line; to replace also "u1"
//	text/csv              u1 in each line, or u2,remove; a first line that names the column is passed over
func (c *call) idChanges(w *write, replace bool, unitType string) (*flags.IDChanges, error) {
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if c.r.Header.Get("Content-Type") == "" {
		media = "application/json" // as everywhere
	} else if err != nil {
		media = ""
	}
	p := &idParser{replace: replace, unitType: unitType, changes: new(flags.IDChanges)}
	switch media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		err = c.idLines(w, p.json)
	case "text/csv", "text/plain":
		err = c.idLines(w, p.csv)
	case "application/json":
		err = c.idDocument(w, p)
	default:
		return nil, web.Errorf(web.CodeUnsupportedMedia, "send ids as Content-Type: application/json, application/x-ndjson or text/csv")
	}
	if err == nil {
		err = p.mistakes()
	}
	return p.changes, err
}

// digest begins the digest of a request whose body is still to be read.
func (c *call) digest() hash.Hash {
	sum := sha256.New()
	_, _ = io.WriteString(sum, c.r.Method+"\n"+c.r.URL.EscapedPath()+"\n") // a hash takes everything
	return sum
}

// idLines hands each line of the body to parse, with its number from 1.
func (c *call) idLines(w *write, parse func(line []byte, number int)) error {
	// A large body takes longer than requests may in general. Where deadlines
	// cannot be set there are none.
	if err := http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(idUploadLasts)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("allowing time for the body: %w", err)
	}
	body, err := web.Stream(c.r, idStream)
	if err != nil {
		return err
	}
	defer body.Close()
	sum := c.digest()
	lines := bufio.NewScanner(io.TeeReader(body, sum))
	lines.Buffer(nil, maxIDLine)
	number := 0
	for lines.Scan() {
		if number++; number > maxIDLines { // a small body may decompress into many lines
			return tooManyIDs()
		}
		line := lines.Bytes()
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			parse(line, number)
		}
	}
	w.digest = hex.EncodeToString(sum.Sum(nil))
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return web.Invalid(lineAt(number+1), "too_large", "the line has more than %d bytes", maxIDLine)
	case err != nil:
		if _, ours := errors.AsType[*web.Error](err); ours {
			return err
		}
		return &web.Error{Code: web.CodeValidation, Message: "the body could not be read to its end", Err: err}
	}
	return nil
}

func lineAt(number int) string { return fmt.Sprintf("line %d", number) }

// An idParser collects changes, and what is wrong with the body.
type idParser struct {
	replace  bool
	unitType string
	changes  *flags.IDChanges
	problems []web.FieldProblem
	wrong    int
}

func (p *idParser) mistake(pointer, code, format string, args ...any) {
	if p.wrong++; p.wrong <= mostMistakes {
		p.problems = append(p.problems, web.FieldProblem{Pointer: pointer, Code: code, Message: fmt.Sprintf(format, args...)})
	}
}

// mistakes is everything wrong with the body as one error.
func (p *idParser) mistakes() error {
	switch {
	case p.wrong > 0:
		return &web.Error{Code: web.CodeValidation, Message: fmt.Sprintf("%d of the ids cannot be read; nothing was changed", p.wrong), Problems: p.problems}
	case p.changes.Len() > 2*flags.MaxIDs:
		return tooManyIDs()
	}
	return nil
}

func tooManyIDs() error {
	return web.Errorf(web.CodeTooLarge, "at most %d changes can be made at once", 2*flags.MaxIDs)
}

// take notes one change.
func (p *idParser) take(pointer, id string, remove bool) {
	switch {
	case !utf8.ValidString(id):
		p.mistake(pointer, "syntax", "the id is not UTF-8")
	case !flags.ValidUnitID(id):
		p.mistake(pointer, "invalid", "an id has 1 to 1024 bytes")
	case p.changes.Len() > 2*flags.MaxIDs: // too many: mistakes says so
	case remove && p.replace:
		p.mistake(pointer, "invalid", "a list is replaced by ids to have; to take some out, PATCH it")
	case remove:
		p.changes.Remove(id)
	default:
		p.changes.Add(id)
	}
}

// json reads a line of NDJSON.
func (p *idParser) json(line []byte, number int) {
	at := lineAt(number)
	if line[0] == '"' && p.replace {
		var id string
		if err := web.DecodeJSON(line, &id, web.Limits{}); err != nil {
			p.mistake(at, "syntax", "this is no JSON text")
			return
		}
		p.take(at, id, false)
		return
	}
	var in struct {
		Add    *string `json:"add"`
		Remove *string `json:"remove"`
	}
	if err := web.DecodeJSON(line, &in, web.Limits{}); err != nil || (in.Add == nil) == (in.Remove == nil) {
		p.mistake(at, "syntax", `a line is {"add": "an id"} or {"remove": "an id"}`)
		return
	}
	if in.Remove != nil {
		p.take(at, *in.Remove, true)
	} else {
		p.take(at, *in.Add, false)
	}
}

// csv reads a line of CSV: an id, and what to do with it unless it is to be added.
func (p *idParser) csv(line []byte, number int) {
	at := lineAt(number)
	id, rest, ok := csvField(string(line))
	if !ok {
		p.mistake(at, "syntax", "a quoted id ends with a quote, and quotes inside are doubled")
		return
	}
	verb, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(rest)), ",")
	if number == 1 && p.names(id) {
		return
	}
	switch strings.Trim(verb, `" `) {
	case "", "add":
		p.take(at, id, false)
	case "remove":
		p.take(at, id, true)
	default:
		p.mistake(at, "invalid", "the second column says add, remove, or nothing")
	}
}

// names reports whether text is the name of the column of ids.
func (p *idParser) names(text string) bool {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }
	return plain(text) == "id" || plain(text) == plain(p.unitType)
}

// csvField takes the first field off a line.
func csvField(line string) (field, rest string, ok bool) {
	if !strings.HasPrefix(line, `"`) {
		field, rest, _ = strings.Cut(line, ",")
		return strings.TrimSpace(field), rest, true
	}
	var b strings.Builder
	for line = line[1:]; ; {
		i := strings.IndexByte(line, '"')
		if i < 0 {
			return "", "", false
		}
		b.WriteString(line[:i])
		if line = line[i+1:]; !strings.HasPrefix(line, `"`) {
			break
		}
		b.WriteByte('"')
		line = line[1:]
	}
	rest, separated := strings.CutPrefix(line, ",")
	return b.String(), rest, separated || line == ""
}

// idDocument reads a body that is one JSON document.
func (c *call) idDocument(w *write, p *idParser) error {
	raw, err := web.ReadBody(c.r, web.Limits{})
	if err != nil {
		return err
	}
	sum := c.digest()
	_, _ = sum.Write(raw) // a hash takes everything
	w.digest = hex.EncodeToString(sum.Sum(nil))
	var in struct {
		IDs    []string `json:"ids"`
		Add    []string `json:"add"`
		Remove []string `json:"remove"`
		Reason *string  `json:"reason"`
	}
	limits := web.Limits{Array: 100_000}
	if list := bytes.TrimSpace(raw); len(list) > 0 && list[0] == '[' {
		err = web.DecodeJSON(raw, &in.IDs, limits)
	} else {
		err = web.DecodeJSON(raw, &in, limits)
	}
	if err != nil {
		return err
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(raw, &members) // a list has none
	_, named := members["ids"]
	switch {
	case p.replace && (in.Add != nil || in.Remove != nil), p.replace && members != nil && !named:
		return web.Invalid("/ids", "required", `a list is replaced by {"ids": [...]}; PATCH adds and removes`)
	case !p.replace && (in.IDs != nil || named):
		return web.Invalid("/ids", "unknown", `a change is {"add": [...], "remove": [...]}; PUT replaces the list`)
	}
	for i, id := range append(in.IDs, in.Add...) {
		pointer := fmt.Sprintf("/%d", i)
		if in.Add != nil {
			pointer = "/add" + pointer
		} else if named {
			pointer = "/ids" + pointer
		}
		p.take(pointer, id, false)
	}
	for i, id := range in.Remove {
		p.take(fmt.Sprintf("/remove/%d", i), id, true)
	}
	if in.Reason != nil {
		w.reason = *in.Reason
		return checkReason("/reason", w.reason)
	}
	return nil
}
