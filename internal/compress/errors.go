package compress

import (
	"errors"
	"fmt"
)

// What Inflate and InflateCode return, for errors.Is. The text of the error says what came
// and what was expected.
var (
	// ErrTooLong says that the data inflates to more than the limit.
	ErrTooLong = errors.New("compress: inflates to more than is allowed")

	// ErrBadData says that the data is not exactly one zstd frame or one flate stream: it
	// is empty, damaged or cut off, needs a dictionary, or something follows it.
	ErrBadData = errors.New("compress: not one compressed body")

	// ErrMethod says that the data is compressed by a method that was not allowed.
	ErrMethod = errors.New("compress: method not offered")
)

func tooLong(m Method, limit int) error {
	return fmt.Errorf("%w: %s data holds more than %d bytes", ErrTooLong, m, limit)
}

func badData(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadData, fmt.Sprintf(format, args...))
}
