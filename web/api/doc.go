// Package api is the JSON interface to a search.Store over HTTP, both ends of
// it: Handler answers, Client asks and is itself a search.Store. So the page,
// `mesoscope logs` against a running standalone, and a script with curl get
// the same answers.
//
// The way of the data: URL query -> Question (params.go) -> search.Request ->
// search.Store -> JSON (handler.go, tail.go) -> Client (client.go) -> the same
// values again.
//
// All paths are GET but one, and lie below /api/v1/:
//
//	search       lines                        q is not since until limit newest after arrival
//	histogram    counts over time             q is not since until step
//	values       frequent values              q is not since until field n
//	tail         new lines as SSE             q is not after
//	generations  log files that have lines    q is not since until
//	tally        which lines of log files are stored, for `mesoscope verify`:
//	             POST {"keys": [{"container", "generation", "stream"}]}
//
// q is KQL; is and not ("field:value", repeatable) are filters beside it: the
// values of one field are alternatives, the fields must all match. Times are
// RFC 3339. An error is {"error": "…", "position": n} with a status of 400 or
// above; position is there only for an error in q.
package api
