// Package config is the YAML file: its types, defaults, what the environment
// overrides, and errors that say in which line which key is wrong.
//
// The way of the data: defaults <- file <- MESOSCOPE_* environment <- flags ->
// one immutable Config that the commands hand to the parts.
package config
