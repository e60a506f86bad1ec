package nagios

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strconv"
	"strings"
)

// verdictOf reads an answer of NRDP, which is JSON or XML by version and mood:
// {"result": {"status": 0, "message": "OK"}}; status is a number or a text.
func verdictOf(answer []byte) (status int, message string, ok bool) {
	answer = bytes.TrimSpace(answer)
	if len(answer) == 0 {
		return 0, "", false
	}
	var err error
	if answer[0] == '<' {
		var v struct {
			Status  string `xml:"status"`
			Message string `xml:"message"`
		}
		if xml.Unmarshal(answer, &v) != nil {
			return 0, "", false
		}
		status, err = strconv.Atoi(strings.TrimSpace(v.Status))
		return status, v.Message, err == nil
	}
	var v struct {
		Result struct {
			Status  json.RawMessage
			Message string
		}
	}
	if json.Unmarshal(answer, &v) != nil {
		return 0, "", false
	}
	status, err = strconv.Atoi(strings.Trim(string(v.Result.Status), `"`))
	return status, v.Result.Message, err == nil
}
