package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// events calls f for each message of a RecordIO stream: its length in bytes, a
// newline, the JSON.
func events(r io.Reader, f func(object) error) error {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return err
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(br, b); err != nil {
			return err
		}
		var e object
		if err := json.Unmarshal(b, &e); err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

func post(url, stream string, call object) (*http.Response, error) {
	b, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if stream != "" {
		req.Header.Set("Mesos-Stream-Id", stream)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(res.Body) // the status is there
		res.Body.Close()
		return nil, fmt.Errorf("%s: %s %s", call["type"], res.Status, text)
	}
	return res, nil
}
