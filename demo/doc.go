// Package demo is the sample workload of `mesoscope standalone --demo`: a small
// shop whose services really write Docker json-file logs, so that everything
// behind them is the real path. It needs neither Docker nor root.
//
// The way of the data: Start runs the binary once for each service (a hidden
// command, which calls Service) -> a service makes containers below a Docker
// root (container.go), prints what its program says (programs.go) through
// internal/jsonfile, and counts each line before it prints it (tally.go) ->
// Written adds the counts up, so that a run can prove that nothing is missing.
//
// What is printed follows from a seed; ids and times are new in each run, so
// two demos in one store do not collide.
package demo
