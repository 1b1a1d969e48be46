package flyrpc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/balance"
	"github.com/go-flyrpc/flyrpc/internal/command"
	"github.com/go-flyrpc/flyrpc/internal/flow"
	"github.com/go-flyrpc/flyrpc/transport"
)

// TestLimitsDoc holds docs/limits.md to the code: each option that is a number or a time is there, with its default, as are the
// fixed limits, and the tests that it names are there.
func TestLimitsDoc(t *testing.T) {
	options, fixed := limitTables(t)
	tests := testNames(t)
	seen := map[string]bool{}
	for _, row := range append(options, fixed...) {
		if len(row) != 6 && len(row) != 7 || seen[row[0]] {
			t.Errorf("row %q: it is there twice, or has not all columns", row)
			continue
		}
		seen[row[0]] = true
		for _, name := range row[len(row)-2:] {
			if !tests[name] {
				t.Errorf("%s: there is no test %q", row[0], name)
			}
		}
	}
	checkOptions(t, options)
	checkFixed(t, fixed)
}

// checkOptions compares the rows of the options with the structs.
func checkOptions(t *testing.T, rows [][]string) {
	t.Helper()
	documented := map[string][]string{}
	for _, row := range rows {
		documented[row[0]] = row
	}
	server, client := numbers(reflect.TypeFor[ServerOpts](), ""), numbers(reflect.TypeFor[ClientOpts](), "")
	for name := range documented {
		if !server[name] && !client[name] {
			t.Errorf("no option %s is a number or a time", name)
		}
	}
	for name := range union(server, client) {
		row := documented[name]
		if row == nil {
			t.Errorf("option %s isn't in the table", name)
			continue
		}
		in := map[[2]bool]string{{true, true}: "both", {true, false}: "server", {false, true}: "client"}[[2]bool{server[name], client[name]}]
		if row[1] != in {
			t.Errorf("option %s is in %q, not %q", name, in, row[1])
		}
		if want := defaultOf(t, name); row[2] != "never" && row[2] != "none" && limitValue(t, row[2]) != want || (row[2] == "never" || row[2] == "none") != (want == 0) {
			t.Errorf("option %s: the default is %d, not %s", name, want, row[2])
		}
	}
}

// checkFixed compares the rows of the fixed limits with the constants.
func checkFixed(t *testing.T, rows [][]string) {
	t.Helper()
	want := map[string]int64{
		"path, and code of a response": maxCodeLen,
		"metadata":                     maxMetaLen,
		"entries of metadata":          maxMetaEntries,
		"skipped packet":               maxSkip,
		"hello and its answer":         maxHello,
		"ServerOpts.Info":              maxInfo,
		"calls open in one direction":  maxOpenCalls,
		"ping":                         maxPing,
		"pings in flight":              maxPings,
		"answers of the connection itself that wait": maxOwn,
		"learned codes":               maxLearned,
		"paths of learned codes":      maxLearnedBytes,
		"path that this side teaches": maxTaught,
		"packets of version 1 peers that wait for room or OnConnect": maxHeld,
		"key of a command":        command.MaxKey,
		"command beside its body": commandReserve,
		"skipped command":         command.MaxSkip,
		"commands that are open, or answered and not yet written": maxOpenKeys,
		"credit of one account":                                   flow.Max,
		"answers that nobody waits for any more":                  int64(lostAfter),
		"refused connections that are told so":                    maxRefusing,
		"messages in pieces that are completed at once":           maxJoins,
		"calls that are open at IdleTimeout or MaxConnAge":        int64(retireGrace),
		"KeepaliveTime of the other end that is adopted":          int64(maxKeepalive),
		"connections of a client that take no new calls, and end": maxOld,
		"header of an HTTP request":                               maxHTTPHeader,
		"HTTP connection without a request":                       int64(httpIdle),
		"packet over UDP":                                         int64(transport.UDPMaxPacket),
		"calls at the same time over UDP":                         datagramCalls,
		"answers kept over UDP":                                   maxKnown,
		"sequences over UDP":                                      int64(sequenceRest),
		"sessions of a UDP listener":                              transport.DefaultUDPSessions,
		"silence of a UDP session":                                int64(transport.DefaultUDPIdle),
		"one call over UDP of which nothing comes":                int64(unheardFor),
		"connections that a client keeps up":                      maxLinks,
		"changes of state that are still untold":                  maxTold,
		"repeats of what a living server refuses":                 mostRefusals,
		"idle workers":                                            int64(10 * time.Second), // internal/pool holds itself to it
	}
	for _, row := range rows {
		if n, ok := want[row[0]]; !ok || limitValue(t, row[1]) != n {
			t.Errorf("%s is %s, not %d", row[0], row[1], n)
		}
		delete(want, row[0])
	}
	if len(want) > 0 {
		t.Errorf("not in the table: %v", want)
	}
}

// limitTables reads the rows of both tables.
func limitTables(t *testing.T) (options, fixed [][]string) {
	t.Helper()
	text, err := os.ReadFile("docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	first, second, ok := strings.Cut(string(text), "\n## Fixed\n")
	if !ok {
		t.Fatal("there is no heading Fixed")
	}
	return tableRows(first), tableRows(second)
}

// tableRows returns the cells of a table, without its head.
func tableRows(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows[1:]
}

// testNames returns the test functions of this package and of internal/pool, and those of UDP.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "internal/pool/*_test.go", "transport/udp_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
					names[fn.Name.Name] = true
				}
			}
		}
	}
	return names
}

// choices are numbers that are no limits.
var choices = []reflect.Type{
	reflect.TypeFor[ZipMethod](), reflect.TypeFor[ZipLevel](), reflect.TypeFor[ReconnectMode](), reflect.TypeFor[Strategy](),
}

// numbers returns the names of a struct's fields that are numbers or times, those of structs in it included.
func numbers(typ reflect.Type, prefix string) map[string]bool {
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(typ) {
		switch {
		case slices.Contains(choices, f.Type):
		case f.Type.Kind() >= reflect.Int && f.Type.Kind() <= reflect.Float64:
			names[prefix+f.Name] = true
		case f.Type.Kind() == reflect.Struct:
			names = union(names, numbers(f.Type, prefix+f.Name+"."))
		}
	}
	return names
}

func union(a, b map[string]bool) map[string]bool {
	all := map[string]bool{}
	for _, m := range []map[string]bool{a, b} {
		for name := range m {
			all[name] = true
		}
	}
	return all
}

// defaultOf returns what an option is when nobody has set it, in both structs.
func defaultOf(t *testing.T, name string) int64 {
	t.Helper()
	s, c := new(ServerOpts).limits(), new(ClientOpts).limits()
	if s != c {
		t.Errorf("the defaults differ: %+v, %+v", s, c)
	}
	if name, ok := strings.CutPrefix(name, "Reconnect."); ok {
		return reflect.ValueOf(Reconnect{}.withDefaults()).FieldByName(name).Int()
	}
	switch name {
	case "Balance.ConnsPerAddr":
		return 1
	case "Balance.Hedge":
		return 0
	case "Balance.Failures":
		return balance.DefaultFailures
	case "Balance.Pause":
		return int64(balance.DefaultPause)
	case "Balance.MaxPause":
		return int64(balance.DefaultMaxPause)
	case "MaxConns":
		return int64(quietServer(t, nil).maxConns())
	case "MaxConnsPerAddr", "FirstConnTimeout":
		return 0
	case "Zip.MinBody":
		m := mode{}
		m.agreeZip(Zip{Body: ZipFlate}, ownMethods())
		return int64(m.minZip)
	case "StreamWindow":
		return int64(s.window)
	case "MessageWindow":
		return int64(s.messages)
	}
	f := reflect.ValueOf(s).FieldByName(strings.ToLower(name[:1]) + name[1:])
	if !f.IsValid() {
		t.Errorf("no default of %s is known", name)
		return -1
	}
	return f.Int()
}

// limitValue returns a number, or a time in nanoseconds, with its unit.
func limitValue(t *testing.T, text string) int64 {
	t.Helper()
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(strings.ReplaceAll(number, ",", ""), 10, 64)
	scale, ok := map[string]int64{
		"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "ms": int64(time.Millisecond), "s": int64(time.Second), "h": int64(time.Hour),
	}[unit]
	if err != nil || !ok {
		t.Error(fmt.Errorf("%q is no number with a unit: %w", text, err))
	}
	return n * scale
}
