package command

// Exit codes, the same for all commands unless they follow another convention.
const (
	Done    = 0 // done, all is well
	Bad     = 1 // the answer is bad: invalid, incomplete, refused
	Usage   = 2 // wrong usage
	Unknown = 3 // could not be found out: store or agent unreachable
)

// An Exit is an error that says with which code the process ends. With a nil
// Err nothing more is printed: the command has said it all.
type Exit struct {
	Code int
	Err  error
}

// Error is the text of Err.
func (e Exit) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap is Err.
func (e Exit) Unwrap() error { return e.Err }
