package wiretest

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestScenarioFiles counts what there is for each section.
func TestScenarioFiles(t *testing.T) {
	counts := make(map[string]int)
	for _, s := range scenarios(t) {
		counts[s.Section]++
	}
	for _, section := range []string{"1", "2", "3", "4", "5", "6"} {
		least := 10
		if section == "6" {
			least = 30
		}
		if counts[section] < least {
			t.Errorf("section %s has %d scenarios, want %d at least", section, counts[section], least)
		}
	}
	if len(counts) != 6 {
		t.Errorf("the sections are %v", counts)
	}
}

func TestLoadRefuses(t *testing.T) {
	step := func(text string) string {
		return `[{"name": "a", "section": "1", "as": "both", "steps": [` + text + `]}]`
	}
	tests := []struct{ file, text, want string }{
		{"section1.json", `{}`, "cannot unmarshal"},
		{"section1.json", `[{"name": "a", "colour": 1}]`, "unknown field"},
		{"section1.json", `[{"name": "", "section": "1", "as": "both", "steps": []}]`, "what it needs"},
		{"section1.json", `[{"name": "a", "section": "1", "as": "me", "steps": [{"fence": true}]}]`, "no side"},
		{"section1.json", strings.Replace(step(`{"fence": true}`), `"steps"`, `"needs": ["lz4"], "steps"`, 1), "zstd and flate"},
		{"section1.json", strings.Replace(step(`{"fence": true}`), `"steps"`, `"needs": ["flate", "flate"], "steps"`, 1), "zstd and flate"},
		{"section1.json", strings.Replace(step(`{"fence": true}`), `"steps"`, `"hello": "v1", "needs": ["flate"], "steps"`, 1), "runner's hello"},
		{"section1.json", strings.Replace(step(`{"fence": true}`), `"steps"`, `"hello": false, "needs": ["flate"], "steps"`, 1), "runner's hello"},
		{"section2.json", step(`{"fence": true}`), "doesn't begin with section1"},
		{"section1.json", step(`{"fence": true}`)[:2] + step(`{"fence": true}`)[2:], ""},
		{"section1.json", strings.Replace(step(`{"fence": true}`), "]}]", `]}, {"name": "a", "section": "1", "as": "dial", "steps": [{"fence": true}]}]`, 1), "two scenarios"},
		{"section1.json", step(`{"send": "00"}`), "nothing is expected"},
		{"section1.json", step(`{}`), "does one thing"},
		{"section1.json", step(`{"fence": true, "closed": true}`), "does one thing"},
		{"section1.json", step(`{"recv": "80 0001 00 01"}`), "is no packet"},
		{"section1.json", step(`{"recv": "80 0001 00 01 3132"}`), "behind the packet"},
		{"section1.json", step(`{"recv": "81 0001 00 0001 31"}`), "isn't the shortest"},
		{"section1.json", step(`{"recv": "80 0001 61*4097 00 00"}`), "more than 4096"},
		{"section1.json", step(`{"recv": "83 0001 00 00ffffffffffffff"}`), "a payload of"},
		{"section1.json", step(`{"recv": "90 0001 00 01 05"}`), "doesn't fit"},
		{"section1.json", step(`{"recv": "80 00 {seq:a} 00"}`), "stands at byte 1"},
		{"section1.json", step(`{"recv": "80 {seq:a} {seq:b}"}`), "one {seq:name}"},
		{"section1.json", step(`{"recv": "8"}`), "odd length"},
		{"section1.json", step(`{"recv": "'open"}`), "no second quote"},
		{"section1.json", step(`{"recv": "5a*0"}`), "number behind *"},
		{"section1.json", step(`{"recv": "5a*99999999"}`), "too many bytes"},
		{"section1.json", step(`{"recv": {"flag": "RSVP"}}`), "no bit"},
		{"section1.json", step(`{"recv": {"flags": "WAIT"}}`), "unknown field"},
		{"section1.json", step(`{"recv": {"seq": 65536}}`), "cannot unmarshal"},
		{"section1.json", step(`{"recv": {"code": "a\u0000"}}`), "zero byte"},
		{"section1.json", step(`{"recv": {"meta": ["colour"]}}`), "no entry"},
		{"section1.json", step(`{"recv": {"meta": [{"id": 1, "value": "{seq:a}"}]}}`), "no sequence"},
		{"section1.json", step(`{"recv": {"meta": [{"size": 1}]}}`), "unknown field"},
		{"section1.json", step(`{"recv": {"meta": [{"id": 1, "value": "x"}]}}`), "invalid byte"},
		{"section1.json", step(`{"recv": {"text": "a", "json": 1}}`), "exclude each other"},
		{"section1.json", step(`{"recv": {"fill": "00", "size": "most"}}`), "no limit"},
		{"section1.json", step(`{"recv": {"fill": "00", "size": "0*frame"}}`), "no size"},
		{"section1.json", step(`{"recv": {"fill": "00", "size": "frame+x"}}`), "no size"},
		{"section1.json", step(`{"recv": {"fill": "", "size": 3, "hex": "x"}}`), "invalid byte"},
		{"section1.json", step(`{"recv": {"fill": "00", "size": "9999*message"}}`), "can't be made"},
		{"section1.json", step(`{"recv": {"times": 2}}`), "that are sent"},
		{"section1.json", step(`{"anyOrder": ["80 0001 00 00", "8"]}`), "odd length"},
		{"section1.json", step(`{"send": {"message": true}}, {"fence": true}`), "that are expected"},
		{"section1.json", step(`{"send": {"times": "many"}}, {"fence": true}`), "no limit"},
		{"section1.json", step(`{"send": {"length": "long"}}, {"fence": true}`), "no limit"},
		{"section1.json", step(`{"pump": {"flag": "STREAM"}}, {"fence": true}`), "no limit"},
		{"section1.json", step(`{"overdraw": "00"}, {"fence": true}`), "as an object"},
		{"section1.json", step(`{"items": {"flag": "STREAM"}}`), "values, texts or a count"},
		{"section1.json", step(`{"items": {"flag": "FLOW", "count": 1}}`), "no bit"},
		{"empty.txt", "", "no scenarios"},
	}
	for _, tt := range tests {
		_, err := Load(fstest.MapFS{tt.file: {Data: []byte(tt.text)}})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.text, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: the error is %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		"00 0aFF":          "\x00\x0a\xff",
		"'a b' 'c'":        "a bc",
		"61*3 'xy'*2 '*'":  "aaaxyxy*",
		"0102*2":           "\x01\x02\x01\x02",
		"40 {seq:a} 'x' ":  "\x40\x00\x00x",
		"'2*3' 31*2 '''' ": "",
	} {
		got, err := parseBytes(text)
		if want == "" && text != "" {
			if err == nil {
				t.Errorf("%q gives %q", text, got.bytes)
			}
			continue
		}
		if err != nil || string(got.bytes) != want {
			t.Errorf("%q gives %q, %v", text, got.bytes, err)
		}
	}
}

func TestSizes(t *testing.T) {
	l := limits{Frame: new(int)}
	*l.Frame = 1000
	for text, want := range map[string]int{"7": 7, "frame": 1000, "frame+1": 1001, "2*frame-1": 1999, "calls": 1024} {
		s, err := parseSize(text)
		if err != nil || s.of(&l) != want {
			t.Errorf("%q is %d, %v; want %d", text, s.of(&l), err, want)
		}
	}
}
