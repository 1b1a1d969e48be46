//go:build unix

package transport

import (
	"io/fs"
	"syscall"
)

// presetMode gives a socket the mode that its file is to have when it is bound,
// which Linux heeds. Elsewhere the file has what the umask leaves for a moment.
func presetMode(raw syscall.RawConn, mode fs.FileMode) error {
	return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) })
}
