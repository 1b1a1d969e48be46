package membus

import "sync"

// line has things taken, one after the other and in order, by a goroutine that is there while any are.
type line[T any] struct {
	take            func(T)
	most, mostBytes int // that may wait

	mu      sync.Mutex
	waiting []entry[T]
	bytes   int
	running bool
	shut    bool            // nothing is added any more
	idle    []chan struct{} // closed when all is taken
}

// entry is one thing and its size.
type entry[T any] struct {
	v    T
	size int
}

// push adds v, which has size bytes, unless too much waits or the line is shut, which it reports as full.
func (l *line[T]) push(v T, size int) (full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.shut:
		return false
	case len(l.waiting) >= l.most, len(l.waiting) > 0 && l.bytes+size > l.mostBytes:
		return true
	}
	l.waiting = append(l.waiting, entry[T]{v, size})
	l.bytes += size
	if !l.running {
		l.running = true
		go l.run()
	}
	return false
}

// run takes what waits until nothing does.
func (l *line[T]) run() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running = false
			l.waiting = nil
			for _, c := range l.idle {
				close(c)
			}
			l.idle = nil
			l.mu.Unlock()
			return
		}
		e := l.waiting[0]
		l.waiting[0] = entry[T]{}
		l.waiting = l.waiting[1:]
		l.bytes -= e.size
		l.mu.Unlock()
		l.take(e.v)
	}
}

// close shuts the line and returns what waits.
func (l *line[T]) close() (rest []T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	for _, e := range l.waiting {
		rest = append(rest, e.v)
	}
	l.waiting, l.bytes = nil, 0
	return rest
}

// drain shuts the line and returns a channel that is closed when all is taken.
func (l *line[T]) drain() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	c := make(chan struct{})
	if l.running {
		l.idle = append(l.idle, c)
	} else {
		close(c)
	}
	return c
}
