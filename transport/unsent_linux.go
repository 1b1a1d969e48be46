package transport

import "syscall"

const (
	// maxUnsent is how many bytes the system holds of a TCP connection that it hasn't sent: what
	// is written then doesn't wait long behind them.
	maxUnsent = 128 << 10
	// tcpNotSentLowat is TCP_NOTSENT_LOWAT, which package syscall lacks.
	tcpNotSentLowat = 0x19
)

// limitUnsent bounds what the system holds of a TCP connection unsent. Where that
// fails it holds as much as it likes.
func limitUnsent(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, maxUnsent)
	})
}
