// Command covercheck fails when a package is covered too little by its own
// tests. It reads a profile that go test -coverprofile wrote:
//
//	go test -coverprofile=cover.out ./...
//	go run ./internal/covercheck -min 85 cover.out
//
// A package without tests is in the profile with nothing covered, and fails.
// One without statements is not in it, and passes. Packages that are not
// judged are listed in exempt.go with the reason.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "covercheck:", err)
		os.Exit(1)
	}
}

// run reads the profile that args name and writes one line per package.
func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("covercheck", flag.ContinueOnError)
	flags.SetOutput(out)
	least := flags.Float64("min", 85, "the least coverage of a package, in percent")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: covercheck [-min percent] profile")
	}
	file, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer file.Close()
	packages, err := parse(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	return report(out, packages, exemptions(), *least)
}
