package checks

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRange(t *testing.T) {
	for _, c := range []struct {
		text      string
		good, bad float64
	}{
		{"10", 0, -1}, {"10", 10, 10.1}, {"10:", 10, 9}, {"~:10", -99, 11}, {"10:20", 15, 21}, {"@10:20", 9, 10}, {"@10:20", 21, 20}, {"-5:5", -5, -6}, {"0:0", 0, 1}, {"1.5:", 2, 1},
	} {
		r, err := ParseRange(c.text)
		if err != nil || r.Alerts(c.good) || !r.Alerts(c.bad) {
			t.Errorf("%s: %+v %v, %v alerts: %v, %v alerts: %v", c.text, r, err, c.good, r.Alerts(c.good), c.bad, r.Alerts(c.bad))
		}
	}
	for _, bad := range []string{"a", "10:5", ":", "1:2:3", "@", "1e999", "NaN:", "~"} {
		if r, err := ParseRange(bad); err == nil {
			t.Errorf("%q is accepted: %+v", bad, r)
		}
	}
	if r, err := ParseRange(""); err != nil || r.Alerts(1e300) || r.Alerts(-1e300) {
		t.Error("the empty range alerts")
	}
}

func TestPerfdata(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // as FormatPerfdata writes it
		bad  int
	}{
		{"load1=0.5;1;2;0;", "load1=0.5;1;2;0", 0},
		{"'/var log'=12MB;@1:2;~:5;0;100  x=1", "'/var log'=12MB;@1:2;~:5;0;100 x=1", 0},
		{"'it''s'=1c", "'it''s'=1c", 0},
		{"a=U b=-1e3s c=1,5%", "a=U b=-1000s c=1.5%", 0},
		{"a=1;x;2", "a=1;;2", 0},
		{"a= b=c =1 'x y=1 noise d=4", "y=1 d=4", 5},
		{"e=5E f=5e", "e=5E f=5e", 0},
		{"0=00,, a=1s2 b=1.2.3", "", 3},
		{"", "", 0},
	} {
		got, bad := ParsePerfdata(c.text)
		if s := FormatPerfdata(got); s != c.want || bad != c.bad {
			t.Errorf("%q became %q with %d bad, want %q with %d", c.text, s, bad, c.want, c.bad)
		}
	}
}

// FuzzPerfdata: what was read can be written and read again, and is the same.
func FuzzPerfdata(f *testing.F) {
	f.Add("load1=0.5;1;2;0; 'a b'=3MB;;;0;10")
	f.Add("'it''s'=U x=1,5% y=1e5;@1:2")
	f.Fuzz(func(t *testing.T, s string) {
		first, _ := ParsePerfdata(s)
		text := FormatPerfdata(first)
		if strings.ContainsAny(text, "|\n") && !strings.ContainsAny(s, "|\n") {
			t.Errorf("%q breaks a plugin's line", text)
		}
		again, bad := ParsePerfdata(text)
		if bad != 0 || FormatPerfdata(again) != text {
			t.Errorf("%q became %q became %q (%d bad)", s, text, FormatPerfdata(again), bad)
		}
	})
}

func conditionFacts(body string) *facts {
	return &facts{connected: true, status: 200, ip: "10.0.0.1", body: []byte(body), rcode: "NOERROR", responseTime: 120 * time.Millisecond, certificate: 72 * time.Hour}
}

func TestCondition(t *testing.T) {
	body := `{"a":{"b-c":[{"id":1},{"id":"two"}]},"list":["x","y"],"null":null,"f":1.50,"t":true,"s":"hello world","n":12345678901234567890}`
	for text, want := range map[string]bool{
		"[STATUS] == 200": true, "[STATUS] != 200": false, "[STATUS] < 300": true, "[STATUS] <= 200": true, "[STATUS] > 200": false, "[STATUS] == any(200, 429)": true,
		"[STATUS] == any(201, 204)": false, "[STATUS] != any(201, 204)": true, "[RESPONSE_TIME] < 500": true, "[RESPONSE_TIME] < 100ms": false,
		"[CERTIFICATE_EXPIRATION] > 48h": true, "[CERTIFICATE_EXPIRATION] > 96h": false, "[IP] == 10.0.0.1": true, "[IP] == pat(10.*)": true, "[CONNECTED] == true": true, "[DNS_RCODE] == NOERROR": true,
		"[BODY].a.b-c[0].id == 1": true, "[BODY].a.b-c[1].id == two": true, "len([BODY].list) == 2": true, "len([BODY]) > 3": true, "has([BODY].a.b-c) == true": true,
		"has([BODY].a.x) == false": true, "[BODY].null == null": true, "[BODY].f == 1.5": true, "[BODY].f > 1.4": true, "[BODY].t == true": true, "[BODY].s == hello world": true, "[BODY].s == pat(hello*)": true,
		"[BODY].n == 12345678901234567890": true, "[BODY].s == pat(world*)": false, "[BODY].missing == x": false, "[BODY].missing != x": false, "[BODY].s > 5": false, "len([BODY].s) == 11": true,
		"200 == [STATUS]": true, `[BODY] == pat(*"list"*)`: true, "[BODY].list[1] == any(pat(z*), y)": true, `[BODY].list == ["x","y"]`: true,
	} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if ok, seen := c.holds(conditionFacts(body)); ok != want {
			t.Errorf("%s: %v (%s)", text, ok, seen)
		}
	}
	for _, bad := range []string{"", "[STATUS]", "[STATUS]==200", "1 == 1", "[STATSU] == 200", "[STATUS].x == 1", "[BODY]x == 1", "[BODY].a[b] == 1", "[BODY].a[1 == 1", "[BODY]..a == 1", "len(x) == 1", "len([STATUS]) == 3", "pat(2*) == [STATUS]", "[STATUS] < any(1, 2)", "[BODY].a[-1] == 1"} {
		if _, err := ParseCondition(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// FuzzCondition: no text and no body makes an assertion panic or change itself.
func FuzzCondition(f *testing.F) {
	f.Add("[BODY].a[0].b == pat(x*)", `{"a":[{"b":"xy"}]}`)
	f.Add("len([BODY].a) <= any(1, 2)", `[1,2]`)
	f.Add("has([BODY][0]) == true", `nope`)
	f.Fuzz(func(t *testing.T, text, body string) {
		c, err := ParseCondition(text)
		if err != nil {
			return
		}
		ok, _ := c.holds(conditionFacts(body))
		again, err := ParseCondition(c.String())
		if err != nil || !reflect.DeepEqual(c.placeholders(), again.placeholders()) {
			t.Fatalf("%q is not what it was: %v", c, err)
		}
		if same, _ := again.holds(conditionFacts(body)); same != ok {
			t.Errorf("%q holds and does not", c)
		}
	})
}
