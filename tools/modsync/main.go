// Command modsync keeps the sibling lines of every go.mod in the workspace
// true to the imports.
//
// The modules of this repository are never published one by one, so `go mod
// tidy` and GOWORK=off can only find a sibling through a replace directive.
// For each module named in go.work, modsync reads the imports of its Go files
// and makes sure that its go.mod
//
//   - requires, at v0.0.0, each sibling that it imports directly;
//   - replaces, by relative path, each sibling that those need in turn;
//   - names no other sibling.
//
// Which indirect requirements are listed is left to `go mod tidy`, which runs
// after it (make tidy). With -check nothing is written: the differences are
// printed and the exit code is 1.
package main

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
)

const siblingVersion = "v0.0.0"

func main() {
	check := flag.Bool("check", false, "report what would change and exit 1, write nothing")
	root := flag.String("root", ".", "folder that holds go.work")
	flag.Parse()

	changed, err := run(*root, *check)
	if err != nil {
		fmt.Fprintln(os.Stderr, "modsync:", err)
		os.Exit(1)
	}
	if *check && len(changed) > 0 {
		fmt.Fprintf(os.Stderr, "modsync: run `make tidy`; out of step: %s\n", strings.Join(changed, ", "))
		os.Exit(1)
	}
}

// A module is one member of the workspace.
type module struct {
	dir     string // relative to the root, slash-separated
	path    string
	file    *modfile.File
	imports map[string]bool // paths of the siblings that its files import
}

// run brings all go.mod files below root in step and returns the folders of
// those that differed. With check set it writes nothing.
func run(root string, check bool) (changed []string, err error) {
	modules, err := load(root)
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		if err := m.readImports(root, modules); err != nil {
			return nil, err
		}
	}
	for _, m := range slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return strings.Compare(a.dir, b.dir) }) {
		before := modfile.Format(m.file.Syntax)
		if err := m.sync(modules); err != nil {
			return nil, fmt.Errorf("%s: %w", m.dir, err)
		}
		m.file.SortBlocks()
		m.file.Cleanup()
		after := modfile.Format(m.file.Syntax)
		if string(before) == string(after) {
			continue
		}
		changed = append(changed, m.dir)
		if check {
			continue
		}
		if err := os.WriteFile(filepath.Join(root, m.dir, "go.mod"), after, 0o644); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// load reads go.work and the go.mod of each of its members, by module path.
func load(root string) (map[string]*module, error) {
	data, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return nil, err
	}
	work, err := modfile.ParseWork("go.work", data, nil)
	if err != nil {
		return nil, err
	}
	modules := map[string]*module{}
	for _, use := range work.Use {
		dir := filepath.ToSlash(filepath.Clean(use.Path))
		data, err := os.ReadFile(filepath.Join(root, dir, "go.mod"))
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(dir+"/go.mod", data, nil)
		if err != nil {
			return nil, err
		}
		modules[file.Module.Mod.Path] = &module{dir: dir, path: file.Module.Mod.Path, file: file, imports: map[string]bool{}}
	}
	return modules, nil
}

// readImports fills m.imports from the import clauses of all its Go files,
// tests included. Folders that belong to a nested module are left out.
func (m *module) readImports(root string, modules map[string]*module) error {
	top := filepath.Join(root, m.dir)
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == top {
				return nil
			}
			if name := d.Name(); name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if owner := ownerOf(imported, modules); owner != "" && owner != m.path {
				m.imports[owner] = true
			}
		}
		return nil
	})
}

// ownerOf returns the path of the sibling module that holds package p, or "".
func ownerOf(p string, modules map[string]*module) string {
	for ; p != "." && p != "/" && p != ""; p = parent(p) {
		if _, ok := modules[p]; ok {
			return p
		}
	}
	return ""
}

func parent(p string) string {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return ""
	}
	return p[:i]
}

// sync rewrites the sibling lines of m's go.mod.
func (m *module) sync(modules map[string]*module) error {
	needed := map[string]bool{}
	collect(m, modules, needed)
	delete(needed, m.path) // a sibling's tests may come back to m

	for _, r := range m.file.Require {
		if _, sibling := modules[r.Mod.Path]; sibling && !needed[r.Mod.Path] {
			if err := m.file.DropRequire(r.Mod.Path); err != nil {
				return err
			}
		}
	}
	for _, r := range m.file.Replace {
		if _, sibling := modules[r.Old.Path]; sibling && !needed[r.Old.Path] {
			if err := m.file.DropReplace(r.Old.Path, r.Old.Version); err != nil {
				return err
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(needed)) {
		if m.imports[path] {
			if err := m.file.AddRequire(path, siblingVersion); err != nil {
				return err
			}
		}
		rel, err := filepath.Rel(filepath.FromSlash(m.dir), filepath.FromSlash(modules[path].dir))
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if !strings.HasPrefix(rel, ".") {
			rel = "./" + rel
		}
		if err := m.file.AddReplace(path, "", rel, ""); err != nil {
			return err
		}
	}
	return nil
}

// collect adds to needed every sibling that m reaches through imports.
func collect(m *module, modules map[string]*module, needed map[string]bool) {
	for path := range m.imports {
		if !needed[path] {
			needed[path] = true
			collect(modules[path], modules, needed)
		}
	}
}
