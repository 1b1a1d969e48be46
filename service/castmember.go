package service

import (
	"context"
	"io"
	"time"

	"github.com/go-flyrpc/flyrpc"
)

// member is an instance that takes a cast. It is the io.Reader of its call.
type member struct {
	cast   *cast
	ctx    context.Context
	cancel context.CancelCauseFunc
	at     int64     // up to where it has read
	moved  time.Time // when it last has
	done   bool
}

// join takes an instance that says yes, and reports whether it gets the cast.
func (s *cast) join(lane uint64, inbox string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members[lane] != nil {
		return true
	}
	if !s.joining || len(s.members) >= maxMembers || s.end == errNotRead {
		return false
	}
	m := &member{cast: s, moved: time.Now()}
	m.ctx, m.cancel = context.WithCancelCause(s.ctx)
	s.members[lane] = m
	s.open++
	poke(s.news)
	go m.call(inbox)
	return true
}

// call sends the cast to the instance.
func (m *member) call(inbox string) {
	s := m.cast
	ctx := flyrpc.WithReplyMeta(m.ctx, nil) // there is no one answer, whose metadata it could be
	err := s.client.Call(flyrpc.WithMeta(ctx, castKey, castTarget(s.invite.id, inbox)), s.path, m, nil)
	if err != nil && context.Cause(m.ctx) == errSlow {
		err = flyrpc.Errorf(flyrpc.Timeout, "an instance was given up: %w", errSlow)
	}
	m.cancel(nil)
	if s.leave(m, err) {
		s.link.svc.opts.Logger.Warn("service: an instance hasn't taken all that was sent", "subject", s.invite.subject, "error", err)
	}
}

// leave takes that a member is done, and reports whether it has failed by itself, and nobody would know.
func (s *cast) leave(m *member, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.done = true
	s.open--
	unknown := err != nil && s.failed != nil && s.ctx.Err() == nil && (s.end == nil || s.end == io.EOF)
	if s.failed == nil {
		s.failed = err
	}
	d := flyrpc.Outcome(err)
	s.begun = s.begun || err == nil || d != flyrpc.NotSent && d != flyrpc.NotProcessed
	poke(s.news)
	return unknown
}

// Read implements io.Reader, for the call.
func (m *member) Read(b []byte) (int, error) {
	s := m.cast
	for {
		s.mu.Lock()
		n, end, added := copy(b, s.kept[m.at-s.base:]), s.end, s.added
		if n > 0 {
			m.at += int64(n)
			m.moved = time.Now()
			poke(s.news)
		}
		s.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case end != nil:
			return 0, end
		}
		select {
		case <-added:
		case <-m.ctx.Done():
			return 0, context.Cause(m.ctx)
		}
	}
}
