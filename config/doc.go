// Package config is the YAML file: its types, defaults, what the environment
// overrides, and errors that say in which line which key is wrong.
//
// The way of the data: Default <- file <- MESOSCOPE_* environment <- flags ->
// rules -> one immutable Config that the commands hand to the parts.
//
// The file is decoded from its syntax tree along the struct types, not by a
// YAML library's Unmarshal: this way every value keeps its place, all mistakes
// of a file are found at once, and ${NAME} is replaced in values that are
// already cut out, so that no value can smuggle YAML into the file.
//
// Secrets are never keys of the file. A key that ends in _file names a file
// that holds one, see Secret.
package config
