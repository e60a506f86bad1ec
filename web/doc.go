// Package web is the page of `mesoscope standalone`: it searches, follows and
// counts lines in a browser, with all of its files inside the binary.
//
// The way of the data: search.Store -> web/api (JSON and server-sent events) ->
// static/js: state.js holds what the URL says, api.js asks, and list.js,
// chart.js, facets.js, detail.js and sources.js show the answers.
package web
