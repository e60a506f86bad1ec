package shipper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestDeadLettersSurviveRestartAndTornEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deadletter")
	letter := func(i int) DeadLetter {
		return DeadLetter{Index: testIndex, ID: fmt.Sprint(i), Status: 400, Document: json.RawMessage(`{"message":"<b>"}`)}
	}
	open := func() *DeadLetters {
		d, err := OpenDeadLetters(dir, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	if err := d.Append([]DeadLetter{letter(1), letter(2)}); err != nil {
		t.Fatal(err)
	}
	// Power cut in the middle of a record.
	f, err := os.OpenFile(filepath.Join(dir, "000001.ndjson"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":"torn`); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = open()
	if err := d.Append([]DeadLetter{letter(3)}); err != nil {
		t.Fatal(err)
	}
	var ids string
	for l, err := range ReadDeadLetters(dir) {
		if err != nil || string(l.Document) != `{"message":"<b>"}` {
			t.Errorf("%v %+v", err, l)
		}
		ids += l.ID
	}
	if ids != "123" {
		t.Errorf("letters %s, want 123", ids)
	}
	for i := 4; err == nil; i++ {
		if err = d.Append([]DeadLetter{letter(i)}); i > 100 {
			t.Fatal("no limit")
		}
	}
	if !errors.Is(err, ErrDeadLettersFull) || d.Bytes() > 1000 {
		t.Errorf("%v at %d bytes", err, d.Bytes())
	}
	if st, err := os.Stat(filepath.Join(dir, "000001.ndjson")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", st.Mode(), err)
	}
	for range ReadDeadLetters(filepath.Join(dir, "nothing")) {
		t.Error("a letter from nowhere")
	}
}
