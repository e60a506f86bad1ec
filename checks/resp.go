package checks

import (
	"bufio"
	"strconv"
	"strings"
)

// respCommand writes a Redis command.
func respCommand(words ...string) string {
	var b strings.Builder
	b.WriteString("*" + strconv.Itoa(len(words)) + "\r\n")
	for _, w := range words {
		b.WriteString("$" + strconv.Itoa(len(w)) + "\r\n" + w + "\r\n")
	}
	return b.String()
}

// A respError is what a Redis answers in place of a result, as "NOAUTH …".
type respError string

func (e respError) Error() string { return string(e) }

// readRESP reads one answer that is a text: a simple or bulk string, a number,
// or an error, which becomes a respError. Lists are no answer to what we ask.
func readRESP(in *bufio.Reader, most int) (string, error) {
	line, err := readLine(in)
	if err != nil {
		return "", err
	}
	if line == "" {
		return "", wrongProtocol("the answer is no Redis protocol: an empty line")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", respError(rest)
	case '$', '=':
		n, err := strconv.Atoi(rest)
		if err != nil || n < -1 {
			return "", wrongProtocol("the answer is no Redis protocol: length %s", clip(rest))
		}
		if n == -1 {
			return "", nil
		}
		if n > most {
			return "", wrongProtocol("the answer is larger than %s", size(int64(most)))
		}
		return readBulk(in, n)
	}
	return "", wrongProtocol("the answer is no Redis protocol: it begins with %s", clip(line))
}

// readBulk reads n bytes and the end of the line.
func readBulk(in *bufio.Reader, n int) (string, error) {
	var b strings.Builder
	for b.Len() < n { // grows with what comes, not with what was announced
		piece, err := in.Peek(min(n-b.Len(), 4096))
		if err != nil {
			return "", err
		}
		b.Write(piece)
		if _, err := in.Discard(len(piece)); err != nil {
			return "", err
		}
	}
	end, err := readLine(in)
	if err != nil {
		return "", err
	}
	if end != "" {
		return "", wrongProtocol("the answer is no Redis protocol: %s stands behind a text", clip(end))
	}
	return b.String(), nil
}

// readLine reads a line without its end. One that does not end within 4 KiB
// belongs to another protocol.
func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return "", wrongProtocol("the answer has a line of more than 4 KiB: %s", clip(string(line)))
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}
