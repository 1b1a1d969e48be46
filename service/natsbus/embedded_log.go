package natsbus

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// serverLog is the logger of a nats-server. What would end a nats-server's own process is kept for Embedded to return.
type serverLog struct {
	logger *slog.Logger // or nil
	last   atomic.Pointer[string]
}

// fatal returns the last message that would have ended the process, "" for none.
func (l *serverLog) fatal() string {
	if text := l.last.Load(); text != nil {
		return *text
	}
	return ""
}

// debugs reports whether the logger takes what is only for debugging.
func (l *serverLog) debugs() bool {
	return l.logger != nil && l.logger.Enabled(context.Background(), slog.LevelDebug)
}

func (l *serverLog) log(level slog.Level, format string, v []any) {
	if l.logger != nil && l.logger.Enabled(context.Background(), level) {
		l.logger.Log(context.Background(), level, "nats-server: "+fmt.Sprintf(format, v...))
	}
}

// Noticef, and the other methods, are what nats-server calls.
func (l *serverLog) Noticef(format string, v ...any) { l.log(slog.LevelInfo, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log(slog.LevelError, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.last.Store(&text)
	l.log(slog.LevelError, format, v)
}
