package main

import (
	"context"
	"io"
)

func runMutants(ctx context.Context, opt options, out io.Writer) error { return nil }
