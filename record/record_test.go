package record

import "testing"

func TestBatchPieces(t *testing.T) {
	s := &Stream{Name: "docker/x/stdout", Fields: []byte(`"stream":"stdout"`)}
	var b Batch
	settled := 0
	b.Reset(s, func(_ *Batch, ok bool) {
		if ok {
			settled++
		}
	})
	for _, d := range []struct{ id, own string }{{"AAA", `"message":"one"`}, {"BBBB", `"message":"two","log":{"offset":7}`}} {
		b.Body = AppendAction(b.Body, []byte(d.id))
		item := Item{Doc: uint32(len(b.Body))}
		b.Body = append(b.Body, "{"+d.own+","+string(s.Fields)+"}\n"...)
		item.End = uint32(len(b.Body))
		b.Items = append(b.Items, item)
	}
	f := func(got []byte, want string) {
		t.Helper()
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(b.ID(0), "AAA")
	f(b.ID(1), "BBBB")
	f(b.Doc(0), `{"message":"one","stream":"stdout"}`)
	f(b.Own(1), `"message":"two","log":{"offset":7}`)
	f(b.Entry(1), `{"create":{"_id":"BBBB"}}`+"\n"+`{"message":"two","log":{"offset":7},"stream":"stdout"}`+"\n")
	b.Settle()
	if settled != 1 {
		t.Errorf("settled %d times, want 1", settled)
	}
	defer func() {
		if recover() == nil {
			t.Error("the second Settle did not panic")
		}
	}()
	b.Settle()
}
