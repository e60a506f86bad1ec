package search

// Datasets that begin with ownDatasets hold what Mesoscope writes about its own
// work, such as receipts. They lie beside the lines, and nobody who looks for
// lines wants them.
const ownDatasets = "mesoscope."

// visible is n without own datasets, unless n names a dataset or a document:
// who does that knows what he asks for.
func visible(n node) node {
	if namesDataset(n) {
		return n
	}
	others := not{wild{"event.dataset", []string{ownDatasets, ""}}}
	if n == nil {
		return others
	}
	return and{n, others}
}

// namesDataset says whether any part of n asks for a dataset or an _id.
func namesDataset(n node) bool {
	field := ""
	switch n := n.(type) {
	case and:
		return anyNames(n)
	case or:
		return anyNames(n)
	case not:
		return namesDataset(n.node)
	case term:
		field = n.field
	case wild:
		field = n.field
	case exists:
		field = n.field
	case order:
		field = n.field
	}
	return field == "event.dataset" || field == "data_stream.dataset" || field == "_id"
}

func anyNames(nodes []node) bool {
	for _, n := range nodes {
		if namesDataset(n) {
			return true
		}
	}
	return false
}
