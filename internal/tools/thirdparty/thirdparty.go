// Package thirdparty writes THIRD_PARTY.md: what the binary contains of others,
// under which licence, with the texts that those licences want to be passed on.
//
// The way of the data: go list (modules that the main package needs) and the
// licence files below web/ (vendored assets) -> the kind of each licence -> one
// Markdown text without versions, so that an update alone does not change it.
package thirdparty

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A part is one thing of others.
type part struct {
	name    string // module path without version, or the path of the asset
	licence string // SPDX name
	text    string
}

// platform is what the list is made for: the one that is released, wherever the
// list is made.
var platform = []string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"}

// Markdown is the text of THIRD_PARTY.md for the module in root.
func Markdown(root string) ([]byte, error) {
	parts, err := modules(root)
	if err != nil {
		return nil, err
	}
	assets, err := assets(root)
	if err != nil {
		return nil, err
	}
	parts = append(parts, assets...)
	var b bytes.Buffer
	b.WriteString("# Third-party software\n\nThe binary of Mesoscope contains the following software of others. " +
		"The texts of their licences stand below.\nMade by `go test -run ThirdParty . -update`; do not edit.\n\n| software | licence |\n|---|---|\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "| %s | %s |\n", p.name, p.licence)
	}
	for _, p := range parts {
		fmt.Fprintf(&b, "\n## %s\n\n```text\n%s\n```\n", p.name, strings.ReplaceAll(strings.TrimSpace(p.text), "```", "'''"))
	}
	return b.Bytes(), nil
}

// modules are Go itself and the modules that the main package needs.
func modules(root string) ([]part, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Module", ".")
	cmd.Dir, cmd.Env = root, append(os.Environ(), platform...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("list modules: %w", err)
	}
	dirs := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Module *struct {
				Path, Dir string
				Main      bool
			}
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("list modules: %w", err)
		}
		if p.Module != nil && !p.Module.Main {
			dirs[p.Module.Path] = p.Module.Dir
		}
	}
	var parts []part
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find GOROOT: %w", err)
	}
	// distributions move Go's LICENSE elsewhere; its text is that of golang.org/x
	goDir := strings.TrimSpace(string(goroot))
	if _, err := os.Stat(filepath.Join(goDir, "LICENSE")); err != nil {
		goDir = dirs["golang.org/x/sys"]
	}
	dirs["Go (runtime and standard library)"] = goDir
	for path, dir := range dirs {
		text, err := licenceText(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		parts = append(parts, part{path, kind(text), text})
	}
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.name, b.name) })
	for _, p := range parts {
		if p.licence == "" {
			return nil, fmt.Errorf("%s: its licence is none that this project accepts; look at it, then add it to kind", p.name)
		}
	}
	return parts, nil
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)(\.(md|txt))?$`)

// licenceText joins the licence files in dir.
func licenceText(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var texts []string
	for _, wanted := range []func(string) bool{
		licenceName.MatchString,
		func(n string) bool { return n == "NOTICE" || n == "NOTICE.txt" }, // Apache-2.0 §4 (d)
	} {
		for _, e := range entries {
			if !e.IsDir() && wanted(e.Name()) {
				text, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					return "", err
				}
				texts = append(texts, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
			}
		}
	}
	if len(texts) == 0 {
		return "", errors.New("no licence file")
	}
	return strings.Join(texts, "\n\n"), nil
}

// assets are vendored files below web/: each has its licence beside it as
// NAME.LICENSE or in its folder as LICENSE.
func assets(root string) ([]part, error) {
	var parts []part
	err := filepath.WalkDir(filepath.Join(root, "web"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err // without a folder web/ there is no d
		}
		name := strings.TrimSuffix(strings.ToUpper(d.Name()), ".TXT")
		if d.IsDir() || !strings.HasSuffix(name, "LICENSE") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		p := part{filepath.ToSlash(rel), kind(string(text)), string(text)}
		if p.licence == "" {
			return fmt.Errorf("%s: unknown licence", rel)
		}
		parts = append(parts, p)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return parts, err
}

// kind recognises a licence by words that no other one has; "" if it is none
// that may be linked into an Apache-2.0 binary.
func kind(text string) string {
	flat := strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(flat, s) }
	switch {
	case has("GNU GENERAL PUBLIC") || has("GNU AFFERO") || has("GNU LESSER"):
		return ""
	case has("Apache License") && has("Version 2.0"):
		return "Apache-2.0"
	case has("Mozilla Public License"):
		return "MPL-2.0"
	case has("Redistribution and use") && (has("Neither the name") || has("names of its contributors") || has("names of the contributors")):
		return "BSD-3-Clause"
	case has("Redistribution and use"):
		return "BSD-2-Clause"
	case has("Permission is hereby granted, free of charge"):
		return "MIT"
	case has("Permission to use, copy, modify, and/or distribute"), has("Permission to use, copy, modify, and distribute"):
		return "ISC"
	case has("Zero-Clause BSD"):
		return "0BSD"
	case has("This is free and unencumbered software"):
		return "Unlicense"
	}
	return ""
}
