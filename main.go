// Mesoscope follows the output of containers and checks applications on Mesos,
// Marathon and Docker; see README.md. Everything is in command/.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"mesoscope/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to finish. From then on signals have their usual
	// effect, so the second one ends a process that hangs.
	context.AfterFunc(ctx, stop)
	code := command.Main(command.Called(os.Args), command.IO{
		Out: os.Stdout, Err: os.Stderr,
		Terminal: term.IsTerminal(int(os.Stdout.Fd())),
		Context:  ctx,
	})
	stop()
	os.Exit(code)
}
