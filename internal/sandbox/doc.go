// Package sandbox writes sandboxes of the Mesos containerizer as a Mesos agent and
// its container loggers do, for tests: the folders with their absolute links
// (Run), the files stdout and stderr, plain or rotated by logrotate (Writer), and
// what the agent says of them at /state (State).
package sandbox
