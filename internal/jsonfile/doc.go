// Package jsonfile writes container logs exactly as dockerd's json-file driver
// does: same cutting into pieces, same escaping, same rotation on disk. The
// demo, the tests, the fault harness and the benchmark make their logs with it,
// so that what they prove about the agent holds for Docker too.
//
// The way of the data: Copy reads a process's output and finds lines -> an
// entry for each piece of at most ChunkSize bytes (AppendEntry) -> Writer puts
// it into the file and rotates. WriteConfig writes what else dockerd keeps
// beside the log of a container.
//
// The facts come from moby's daemon/logger (copier.go, jsonfilelog/jsonlog,
// loggerutils/logfile.go) and are held by recordings of a real dockerd in
// testdata.
package jsonfile
