package main

import "errors"

func newRealSink(s *sky, url string) (sink, error) { return nil, errors.New("not yet") }
