// Package tail follows the log files of containers and hands every line, once,
// to a sink, across rotations, restarts and removals.
//
// Each container is a source: a chain of generations (one generation is one
// file that dockerd wrote, however often it is renamed or compressed), read
// strictly from the oldest to the youngest.
//
// The way of the data:
//
//	watch (inotify, slow sweep) -> queues of sources that may have something
//	keeper: look at the folder -> generations, each hard-linked into the hold folder
//	worker: read a piece -> pipeline -> one record.Batch for each stream
//	        ledger.begin -> sink
//	sink settles the batch  -> ledger: the settled prefix of the stream moves
//	checkpoint, each second -> settled positions become durable -> held files
//	                           whose last byte is settled are unlinked
//
// Invariants: a checkpoint never passes a byte that is not settled. Nothing of
// a generation is sent before the checkpoint knows the generation, nor above
// the horizon that it grants, so that after a crash it is known what can have
// been sent. One worker at a time works on a source; a settled batch only
// touches its ledger.
package tail
