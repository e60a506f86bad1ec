package discover

import (
	"fmt"
	"strconv"
	"strings"
)

// Why Docker itself loses lines. Nothing that reads its files or asks its API
// can get them back.
const (
	// LossyNonBlocking: dockerd puts lines into a buffer of max-buffer-size (1
	// MB) and drops what does not fit. It counts nowhere how many.
	LossyNonBlocking = "mode=non-blocking drops lines when its buffer is full"
	// LossyTruncates: instead of unlinking a file that is full, dockerd empties
	// it in place. A link holds the file, and not what was in it.
	LossyTruncates = "Docker up to 19.03 empties the log in place with max-file=1"
)

// lossyReasons are the label values of the metric.
var lossyReasons = map[string]string{LossyNonBlocking: "non-blocking", LossyTruncates: "truncates"}

// lossy says why lines of c are lost at their source; engine is Docker's
// version, "" if it is not known.
func lossy(c *Container, engine string) string {
	switch {
	case c.DriverOpts["mode"] == "non-blocking":
		return LossyNonBlocking
	case c.Driver == jsonFile && rotates(c.DriverOpts) && oneFile(c.DriverOpts) && truncates(engine):
		return LossyTruncates
	}
	return ""
}

// rotates says whether the options make dockerd begin new files at all.
func rotates(opts map[string]string) bool {
	size := opts["max-size"]
	return size != "" && !strings.HasPrefix(size, "-") && size != "0"
}

// oneFile says whether the present file is the only one that is kept, as
// without max-file.
func oneFile(opts map[string]string) bool {
	n, err := strconv.Atoi(opts["max-file"])
	return err != nil || n < 2
}

// truncates says whether this version empties a full log in place: 19.03 and
// older. A version that is not known is taken for a newer one.
func truncates(engine string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(engine, "%d.%d", &major, &minor) // "19.03.15+dfsg1", "17.05-ce"
	return n == 2 && (major < 19 || major == 19 && minor <= 3)
}
