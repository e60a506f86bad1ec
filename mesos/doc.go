// Package mesos is what Mesos and Marathon say over HTTP: an agent's state, an
// app's labels, and the grammars of task ids, names and sandboxes.
//
// It knows nothing of logs; agent/discover joins it with containers.
package mesos
