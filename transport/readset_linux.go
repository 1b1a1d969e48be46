package transport

import (
	"os"
	"syscall"
)

// ReadSet tells which of many sockets have something to read, so that one goroutine waits
// for all of them.
//
// Add, Remove and Close may be called concurrently, Wait by one goroutine at a time. A ReadSet that isn't
// closed keeps a file descriptor.
type ReadSet struct {
	file   *os.File
	raw    syscall.RawConn
	events [64]syscall.EpollEvent
}

// NewReadSet returns an empty ReadSet. It fails with errors.ErrUnsupported on other systems
// than Linux.
func NewReadSet() (*ReadSet, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	// A set is itself a file that becomes readable, so package os waits for it as for any.
	s := &ReadSet{file: os.NewFile(uintptr(fd), "readset")}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

// Add has Wait return key once, when c can be read without waiting: at once if it can already. c may be in the set
// or have been; its key is the last one. A socket that is closed leaves the set by itself.
func (s *ReadSet) Add(c *RawConn, key uint64) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLONESHOT, Fd: int32(uint32(key)), Pad: int32(key >> 32)}
	err := s.control(c, syscall.EPOLL_CTL_ADD, &event)
	if err == syscall.EEXIST {
		err = s.control(c, syscall.EPOLL_CTL_MOD, &event)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// Remove takes c out of the set. It does nothing if c isn't in it. What Wait is about to return, it returns.
func (s *ReadSet) Remove(c *RawConn) {
	_ = s.control(c, syscall.EPOLL_CTL_DEL, &syscall.EpollEvent{})
}

// control changes what the set has of c.
func (s *ReadSet) control(c *RawConn, op int, event *syscall.EpollEvent) error {
	var failure error
	err := c.raw.Control(func(fd uintptr) {
		err := s.raw.Control(func(set uintptr) { failure = syscall.EpollCtl(int(set), op, int(fd), event) })
		if err != nil {
			failure = err
		}
	})
	if err != nil {
		return err
	}
	return failure
}

// Wait waits until a socket of the set can be read and puts the keys of some that can into keys, which
// has room for at least one. It fails after Close.
func (s *ReadSet) Wait(keys []uint64) (n int, err error) {
	var failure error
	err = s.raw.Read(func(set uintptr) bool {
		n, failure = syscall.EpollWait(int(set), s.events[:min(len(s.events), len(keys))], 0)
		for failure == syscall.EINTR {
			n, failure = syscall.EpollWait(int(set), s.events[:min(len(s.events), len(keys))], 0)
		}
		return n > 0 || failure != nil
	})
	if err != nil {
		return 0, err
	}
	if failure != nil {
		return 0, os.NewSyscallError("epoll_wait", failure)
	}
	for i, e := range s.events[:n] {
		keys[i] = uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
	}
	return n, nil
}

// Close ends the set and a Wait that is waiting. It leaves the sockets alone.
func (s *ReadSet) Close() error { return s.file.Close() }
