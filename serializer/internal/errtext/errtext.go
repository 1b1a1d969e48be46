// Package errtext keeps the errors of decoding libraries short.
package errtext

import (
	"errors"
	"strings"
)

// Max is how many bytes of a library's error are passed on.
const Max = 300

// Brief returns err, or if its text is long, because the library quotes the data
// in it, an error with the beginning of the text.
func Brief(err error) error {
	text := err.Error()
	if len(text) <= Max {
		return err
	}
	return errors.New(strings.ToValidUTF8(text[:Max], "") + "...")
}
