package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// oneScenario makes a scenario of its hello and steps.
func oneScenario(t testing.TB, hello, steps string) Scenario {
	t.Helper()
	text := `[{"name": "a", "section": "1", "as": "both", "hello": ` + hello + `, "steps": [` + steps + `]}]`
	all, err := Load(fstest.MapFS{"section1.json": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// playText plays a scenario against an end that sends text, in the notation of the scenarios, and
// then reads until the connection ends, or closes it.
func playText(t testing.TB, s Scenario, side Side, text string, closes bool) error {
	t.Helper()
	data, err := plainBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer there.Close()
		_, _ = there.Write(data)
		if closes {
			_ = there.(*net.TCPConn).CloseWrite()
		}
		buf := make([]byte, 4096)
		for {
			if _, err := there.Read(buf); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = Play(ctx, here, s, side)
	<-done
	return err
}

const (
	goodAnswer = `80 ffff 00 23 '{"flyrpc":2,"serializers":["json"]}' `
	goodHello  = `40 ffff 'fly.hello' 00 23 '{"flyrpc":2,"serializers":["json"]}' `
)

// TestPlayFails is about what the runner says when the other end does the wrong thing.
func TestPlayFails(t *testing.T) {
	slow := `"within": 0.05`
	tests := []struct {
		name, hello, steps, sends string
		side                      Side
		want                      []string
	}{
		{
			"another body", `{}`, `{"recv": "80 0001 00 01 '1'"}`, goodAnswer + "80 0001 00 01 '2'", Dialling,
			[]string{"step 1, recv", "from byte 0 on: 32", "expected RESPONSE, sequence 1", "got      RESPONSE, sequence 1", "800001000132"},
		},
		{"another flag", `{}`, `{"recv": "80 0001 00 00"}`, goodAnswer + "a0 0001 00 00", Dialling, []string{"RESPONSE STREAM, not RESPONSE"}},
		{"another sequence", `{}`, `{"recv": "80 0001 00 00"}`, goodAnswer + "80 0002 00 00", Dialling, []string{"sequence is 2, not 1"}},
		{"another code", `{}`, `{"recv": "80 0001 'A' 00 00"}`, goodAnswer + "80 0001 'B' 00 00", Dialling, []string{`"B", not "A"`}},
		{"no code", `{}`, `{"recv": {"flag": "RESPONSE", "seq": 1, "anyCode": true, "anyMeta": true, "message": true}}`, goodAnswer + "80 0001 00 01 '1'", Dialling, []string{"code is empty"}},
		{"no text", `{}`, `{"recv": {"flag": "RESPONSE", "seq": 1, "code": "A", "message": true}}`, goodAnswer + "80 0001 'A' 00 00", Dialling, []string{"no text for people"}},
		{"no JSON", `{}`, `{"recv": {"flag": "RESPONSE", "seq": 1, "json": 1}}`, goodAnswer + "80 0001 00 01 '{'", Dialling, []string{"no JSON"}},
		{"other metadata", `{}`, `{"recv": "90 0001 00 03 020400"}`, goodAnswer + "90 0001 00 04 03040174", Dialling, []string{"metadata is 03040174"}},
		{"metadata that doesn't fit", `{}`, `{"recv": "90 0001 00 03 020400"}`, goodAnswer + "90 0001 00 01 05", Dialling, []string{"doesn't fit"}},
		{
			"another sequence with a name", `{}`, `{"recv": "40 {seq:a} 'x' 00 00"}, {"recv": "20 {seq:a} 'e' 00 00"}`,
			goodAnswer + "40 0005 'x' 00 00 20 0006 'e' 00 00", Dialling,
			[]string{"step 2", `6, not "a", which is 5`},
		},
		{"a sequence that didn't come", `{}`, `{"send": "80 {seq:a} 00 00"}, {"fence": true}`, goodAnswer, Dialling, []string{`no sequence "a"`}},
		{"a sequence that didn't come, for credit", `{}`, `{"granted": {"seq": "a"}}`, goodAnswer, Dialling, []string{`no sequence "a"`}},
		{"a call that isn't open, for credit", `{}`, `{"granted": {"seq": 1}}`, goodAnswer, Dialling, []string{"isn't open"}},
		{"no account to overdraw", `{}`, `{"overdraw": {"flag": "STREAM", "seq": 1}}, {"closed": true}`, goodAnswer, Dialling, []string{"no account"}},
		{"nothing comes", `{}`, `{"recv": "80 0001 00 00", ` + slow + `}`, goodAnswer, Dialling, []string{"no packet came", "i/o timeout"}},
		{
			"no credit comes", `{}`, `{"send": "60 0001 'a' 00 00"}, {"pump": {"flag": "STREAM", "seq": 1, "fill": "31", "size": 1000}, "until": "2*window", ` + slow + `}, {"fence": true}`,
			goodAnswer, Dialling,
			[]string{"step 2, pump", "waiting for credit"},
		},
		{"nothing is granted", `{}`, `{"send": "60 0001 'a' 00 00"}, {"granted": {"seq": 1, "least": 1}, ` + slow + `}`, goodAnswer, Dialling, []string{"0 of 0 bytes"}},
		{"too much is granted", `{}`, `{"send": "60 0001 'a' 00 00"}, {"granted": {"seq": 1, "least": 1}}`, goodAnswer + "a0 0001 'w' 00 01 05", Dialling, []string{"5 were granted"}},
		{"it isn't closed", `{}`, `{"closed": true, ` + slow + `}`, goodAnswer, Dialling, []string{"still open"}},
		{"something comes before it is closed", `{}`, `{"closed": true}`, goodAnswer + "80 0001 00 00", Dialling, []string{"should end, and this came"}},
		{"nothing comes behind the last step but something else", `{}`, `{"recv": "80 0001 00 00"}`, goodAnswer + "80 0001 00 00 80 0002 00 00", Dialling, []string{"behind the last step"}},
		{"it isn't the shortest length", `{}`, `{"recv": "80 0001 00 00"}`, goodAnswer + "81 0001 00 0000", Dialling, []string{"isn't the shortest"}},
		{"a packet that ends early", `{}`, `{"recv": "80 0001 00 00"}`, goodAnswer + "80 0001 00 05 00", Dialling, []string{"unexpected EOF"}},
		{"a code that wasn't taught", `{"codes": 3}`, `{"recv": "40 0001 'a' 00 00"}`, goodAnswer + "40 0001 0102 00 00", Dialling, []string{"not taught"}},
		{"a piece that can't be", `{}`, `{"joined": {"flag": "RESPONSE", "seq": 1, "fill": "78", "size": 9}}`, goodAnswer + "b0 0001 '+' 00 01 00", Dialling, []string{"can't be"}},
		{"a piece of another call", `{}`, `{"joined": {"flag": "RESPONSE", "seq": 1, "fill": "78", "size": 9}, ` + slow + `}`, goodAnswer + "a0 0002 '+' 00 01 'x'", Dialling, []string{"behind 0 bytes and 1 other packets"}},
		{"another call behind the whole", `{}`, `{"joined": {"flag": "RESPONSE", "seq": 1, "text": "xy"}}, {"fence": true}`, goodAnswer + "a0 0001 '+' 00 01 'x' 80 0002 00 00 80 0001 00 01 'y'", Dialling, []string{"step 2, fence", "sequence is 2"}},
		{"a whole that ends early", `{}`, `{"joined": {"flag": "RESPONSE", "seq": 1, "fill": "78", "size": 9}, ` + slow + `}`, goodAnswer + "a0 0001 '+' 00 01 'x'", Dialling, []string{"behind 1 bytes"}},
		{"another item", `{}`, `{"items": {"flag": "RESPONSE STREAM", "seq": 1, "count": 2}}`, goodAnswer + "a0 0001 00 01 '1' a0 0001 00 01 '3'", Dialling, []string{"item 2"}},
		{"no item", `{}`, `{"items": {"flag": "RESPONSE STREAM", "seq": 1, "count": 2}, ` + slow + `}`, goodAnswer + "a0 0001 00 01 '1'", Dialling, []string{"item 2: no packet"}},
		{"an answer that is none", `{}`, `{"fence": true}`, "80 0001 00 02 '{}'", Dialling, []string{"hello: this is no hello"}},
		{"an answer with an error", `{}`, `{"fence": true}`, "80 ffff 'NO' 00 02 '{}'", Dialling, []string{"no hello"}},
		{"an answer that is no JSON", `{}`, `{"fence": true}`, "80 ffff 00 01 '{'", Dialling, []string{"hello: "}},
		{"an answer without serializers", `{}`, `{"fence": true}`, `80 ffff 00 0c '{"flyrpc":2}'`, Dialling, []string{"the serializers"}},
		{"an answer of another version", `{}`, `{"fence": true}`, `80 ffff 00 23 '{"flyrpc":3,"serializers":["json"]}'`, Dialling, []string{"flyrpc 2"}},
		{"a hello without metadata where it says so", `{}`, `{"fence": true}`, `50 ffff 'fly.hello' 00 01 05`, Accepting, []string{"doesn't fit"}},
		{"a field of hello", `false`, `{"recvHello": {"agent": "me", "auth": null}}`, goodHello, Accepting, []string{`field "agent"`, `expected "me"`}},
		{"version 1 with STREAM", `"v1"`, `{"recv": "80 0001 00 00"}`, "a0 0001 00 00", Dialling, []string{"version 1 peer was sent"}},
		{"version 1 that doesn't say hello", `"v1"`, `{"recv": "80 0001 00 00"}`, "80 0001 00 00", Accepting, []string{"no hello"}},
	}
	for _, tt := range tests {
		err := playText(t, oneScenario(t, tt.hello, tt.steps), tt.side, tt.sends, strings.Contains(tt.name, "early"))
		if err == nil {
			t.Errorf("%s: nothing failed", tt.name)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error has no %q: %v", tt.name, want, err)
			}
		}
	}
}

// TestPlayAnswersPings has the other end ping at its own moment.
func TestPlayAnswersPings(t *testing.T) {
	s := oneScenario(t, `{"inflate": ["flate"]}`, `{"recv": "80 0001 00 02 'hi'"}, {"closed": true}`)
	err := playText(t, s, Dialling, goodAnswer+"40 0003 'fly.ping' 00 01 'x' 84 0001 00 07 01 0200 fdff 'hi'", true)
	if err != nil {
		t.Error(err)
	}
}

// TestPlayJoinsAmidOthers has an answer come between the pieces of a message, and its ping behind it.
func TestPlayJoinsAmidOthers(t *testing.T) {
	s := oneScenario(t, `{}`, `{"joined": {"seq": "m", "code": "/peer", "text": "xyz"}}, {"recv": "80 0001 00 00"}, {"recv": "80 0002 00 00"}, {"closed": true}`)
	err := playText(t, s, Dialling, goodAnswer+"60 0007 '+' 00 01 'x' 80 0001 00 00 60 0007 '+' 00 01 'y' 80 0002 00 00 00 0007 '/peer' 00 01 'z' 40 0007 'fly.ping' 00 00", true)
	if err != nil {
		t.Error(err)
	}
}

// TestPlayNeeds plays a scenario that needs flate against ends that inflate this and that.
func TestPlayNeeds(t *testing.T) {
	s := oneScenario(t, `{}`, `{"closed": true}`)
	s.Needs = []string{"flate"}
	for inflate, offered := range map[string]bool{`["zstd","flate"]`: true, `["flate"]`: true, `["zstd"]`: false, `[]`: false, `null`: false} {
		hello := fmt.Sprintf(`{"flyrpc":2,"serializers":["json"],"inflate":%s}`, inflate)
		for side, head := range map[Side]string{Dialling: "80 ffff 00 ", Accepting: "40 ffff 'fly.hello' 00 "} {
			err := playText(t, s, side, fmt.Sprintf("%s %02x '%s'", head, len(hello), hello), true)
			if offered && err != nil || !offered && !errors.Is(err, ErrNotOffered) {
				t.Errorf("as %s, inflate %s: %v", side, inflate, err)
			}
		}
	}
}

// TestPlayCannotSend plays steps against an end that is gone.
func TestPlayCannotSend(t *testing.T) {
	here, there := net.Pipe()
	there.Close()
	s := oneScenario(t, `false`, `{"send": "00"}, {"fence": true}`)
	if err := Play(context.Background(), here, s, Dialling); err == nil {
		t.Error("a closed connection was written to")
	}
	here, there = net.Pipe()
	defer there.Close()
	s = oneScenario(t, `false`, `{"send": "00", "within": 0.01}, {"fence": true}`)
	if err := Play(context.Background(), here, s, Dialling); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if err := Play(context.Background(), here, s, Dialling); err == nil {
		t.Error("a connection that is closed was played on")
	}
}

func TestPlayEndsWithItsContext(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	s := oneScenario(t, `false`, `{"closed": true, "within": 60}, {"fence": true}`)
	if err := Play(ctx, here, s, Dialling); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Side = Accepting
	here, there = net.Pipe()
	defer there.Close()
	if err := Play(context.Background(), here, s, Dialling); err == nil || !strings.Contains(err.Error(), "not for the side") {
		t.Error(err)
	}
}
