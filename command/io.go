package command

import (
	"context"
	"io"
)

// IO is what a command sees of the world around it.
type IO struct {
	Out, Err io.Writer
	Terminal bool            // Out is a terminal: colours and cursor movements are welcome
	Context  context.Context // ends with SIGINT or SIGTERM
}
