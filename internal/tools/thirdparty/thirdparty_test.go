package thirdparty

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKind(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n  Version 2.0, January 2004":                                           "Apache-2.0",
		"Permission is hereby granted, free\nof charge, to any person":                          "MIT",
		"Redistribution and use in source … Neither the name of":                                "BSD-3-Clause",
		"Redistribution and use in source":                                                      "BSD-2-Clause",
		"GNU GENERAL PUBLIC LICENSE … Permission is hereby granted, free of charge":             "",
		"All rights reserved.":                                                                  "",
		"Permission to use, copy, modify, and/or distribute this software for any purpose with": "ISC",
	} {
		if got := kind(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestAssets: a vendored file without a known licence is refused.
func TestAssets(t *testing.T) {
	root := t.TempDir()
	if parts, err := assets(root); err != nil || parts != nil {
		t.Error(parts, err)
	}
	dir := filepath.Join(root, "web", "assets")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "uplot.LICENSE")
	os.WriteFile(file, []byte("Permission is hereby granted, free of charge"), 0o644)
	if parts, err := assets(root); err != nil || len(parts) != 1 || parts[0].name != "web/assets/uplot.LICENSE" || parts[0].licence != "MIT" {
		t.Error(parts, err)
	}
	os.WriteFile(file, []byte("ask me"), 0o644)
	if _, err := assets(root); err == nil || !strings.Contains(err.Error(), "unknown licence") {
		t.Error(err)
	}
}
