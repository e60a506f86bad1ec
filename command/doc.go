// Package command is the command line: one file for each command, which reads
// its flags and configuration, wires the parts that it needs, and turns the
// outcome into text and an exit code.
//
// The way of a call: main -> Main (root.go) -> kong fills the command's struct
// -> its Run(*IO) -> nil or an Exit.
package command
