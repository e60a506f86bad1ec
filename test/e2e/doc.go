// Package e2e tests the built program as its users run it: processes of
// `mesoscope agent` and `mesoscope standalone` beside a real dockerd and a real
// Elasticsearch. It has nothing but tests, which carry the tag e2e.
//
// The way of the data: writer (a static program in an image of its own) prints
// the numbered lines of the package lines into containers -> dockerd's files ->
// the program -> Elasticsearch and the embedded store -> the ordered list of
// each container and stream is compared with the one that was written.
package e2e
