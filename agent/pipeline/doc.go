// Package pipeline turns the bytes of a container's log file into finished
// documents.
//
// The way of the data: one physical line -> Parser.Parse (jsonfile.go) -> Entry
// -> Joiner.Add (join.go), which puts Docker's 16 KiB pieces together -> Line ->
// Append (document.go), which writes the document behind its action line into a
// record.Batch. Nothing is allocated per line, and the text of a line is never
// unescaped: Docker already wrote it as a valid JSON string.
package pipeline
