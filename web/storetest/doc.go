// Package storetest is a search.Store in memory, for the tests of what stands
// above a store: the JSON API, the page and `mesoscope logs`. It understands as
// much of KQL as these tests type.
//
// The way of the data: Add -> Store.Search -> the code under test.
package storetest
