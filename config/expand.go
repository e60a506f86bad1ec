package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	placeholder = "${"
)

// maxInclude is the most that ${file:PATH} reads: it is for a name or a token,
// and a wrong path must not fill the memory.
const maxInclude = 64 * kib

// expand replaces ${NAME} by a variable of the environment and ${file:PATH} by
// the content of a file without its last line end. $${ stands for a literal
// ${; a $ before anything else is an ordinary character. dir is where relative
// paths begin.
func expand(s, dir string, lookup func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		i := strings.Index(s, placeholder)
		if i < 0 {
			out.WriteString(s)
			return out.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			out.WriteString(s[:i-1] + placeholder)
			s = s[i+len(placeholder):]
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return "", fmt.Errorf("%q has no } behind ${; write $${ for a plain ${", s[i:])
		}
		out.WriteString(s[:i])
		value, err := replacement(s[i+len(placeholder):i+end], dir, lookup)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		s = s[i+end+1:]
	}
}

func replacement(name, dir string, lookup func(string) (string, bool)) (string, error) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		if path == "" {
			return "", fmt.Errorf("${file:} names no file; write ${file:/path/of/it}")
		}
		text, err := readSmall(absolute(dir, path))
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", name, err)
		}
		return text, nil
	}
	if !variable.MatchString(name) {
		return "", fmt.Errorf("${%s} is not a variable; write ${NAME} with letters, digits and _, or ${file:PATH}", name)
	}
	value, _ := lookup(name)
	if value == "" {
		return "", fmt.Errorf("${%s} has no value; set the variable %s", name, name)
	}
	return value, nil
}

// Secret reads the secret that a *_file key names: the content of the file
// without line ends and spaces around it. An empty file is an error. Read it at
// each use or reload, so that a changed secret counts.
func Secret(path string) (string, error) {
	text, err := readSmall(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(text), nil
}

// readSmall reads a file of one short text and cuts its last line end.
func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxInclude+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxInclude:
		return "", fmt.Errorf("%s is larger than %s", path, Bytes(maxInclude))
	case strings.TrimSpace(string(text)) == "":
		return "", fmt.Errorf("%s is empty", path)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// absolute is path as seen from dir.
func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
