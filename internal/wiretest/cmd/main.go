// Command cmd plays the conformance scenarios of the FlyRPC wire protocol against an
// implementation, which registers the program that testdata/wire/scenarios/README.md describes.
//
//	go run ./internal/wiretest/cmd -dial localhost:7000
//	go run ./internal/wiretest/cmd -listen localhost:7001 -section 6 -run credit
//
// It prints a line for each scenario, and exits with 1 if one fails. A scenario that needs a compression method
// which the other end doesn't offer is left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/wiretest"
)

// Times.
const (
	connectTime  = 10 * time.Second // until there is a connection
	scenarioTime = 60 * time.Second
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the flags say.
type options struct {
	dial, listen, dir, section string
	pattern                    *regexp.Regexp
}

// parse reads the flags.
func parse(args []string, stderr io.Writer) (o options, err error) {
	set := flag.NewFlagSet("wiretest", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&o.dial, "dial", "", "play against the server at this `address`")
	set.StringVar(&o.listen, "listen", "", "play against the clients that dial this `address`")
	set.StringVar(&o.dir, "dir", "testdata/wire/scenarios", "the `folder` of the scenarios")
	set.StringVar(&o.section, "section", "", "play this `section` alone")
	pattern := set.String("run", "", "play the scenarios whose names match this `pattern` alone")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if (o.dial == "") == (o.listen == "") || set.NArg() > 0 {
		return o, fmt.Errorf("-dial or -listen, one of them, is what it takes")
	}
	o.pattern, err = regexp.Compile(*pattern)
	return o, err
}

// run is the command; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err == nil {
		var failed int
		if failed, err = o.play(stdout); err == nil && failed == 0 {
			return 0
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "wiretest:", err)
		return 2
	}
	return 1
}

// chosen returns the scenarios that are to be played.
func (o *options) chosen() (list []wiretest.Scenario, side wiretest.Side, err error) {
	side = wiretest.Dialling
	if o.listen != "" {
		side = wiretest.Accepting
	}
	all, err := wiretest.Load(os.DirFS(o.dir))
	for _, s := range all {
		if s.Plays(side) && (o.section == "" || o.section == s.Section) && o.pattern.MatchString(s.Name) {
			list = append(list, s)
		}
	}
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("no scenario is chosen")
	}
	return list, side, err
}

// play plays all scenarios and returns how many have failed.
func (o *options) play(stdout io.Writer) (failed int, err error) {
	list, side, err := o.chosen()
	if err != nil {
		return 0, err
	}
	connect := func() (net.Conn, error) { return net.DialTimeout("tcp", o.dial, connectTime) }
	if side == wiretest.Accepting {
		l, err := net.Listen("tcp", o.listen)
		if err != nil {
			return 0, err
		}
		defer l.Close()
		fmt.Fprintf(stdout, "listening on %s\n", l.Addr())
		connect = func() (net.Conn, error) {
			_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(connectTime))
			return l.Accept()
		}
	}
	skipped := 0
	for _, s := range list {
		conn, err := connect()
		if err != nil {
			return failed, err
		}
		verdict, text := "ok  ", ""
		err = playOne(conn, s, side)
		switch {
		case errors.Is(err, wiretest.ErrNotOffered):
			skipped++
			verdict = "skip"
		case err != nil:
			failed++
			verdict = "FAIL"
		}
		if err != nil {
			text = "\n     " + strings.ReplaceAll(err.Error(), "\n", "\n     ")
		}
		fmt.Fprintf(stdout, "%s %s %s%s\n", verdict, s.Section, s.Name, text)
	}
	fmt.Fprintf(stdout, "%d scenarios, %d failed, %d skipped\n", len(list), failed, skipped)
	return failed, nil
}

// playOne plays one scenario.
func playOne(conn net.Conn, s wiretest.Scenario, side wiretest.Side) error {
	ctx, cancel := context.WithTimeout(context.Background(), scenarioTime)
	defer cancel()
	return wiretest.Play(ctx, conn, s, side)
}
