package service

// announce makes the service known on a bus where it can be found, once.
func (s *Service) announce() {
	bus, ok := s.bus.(Discoverable)
	s.mu.Lock()
	first := ok && !s.announced && !s.closed
	s.announced = s.announced || first
	s.mu.Unlock()
	if !first {
		return
	}
	stop, err := bus.Announce(Instance{
		Name: s.name, ID: s.id, Version: s.opts.Version, Description: s.opts.Description, Meta: s.opts.Meta, Started: s.started,
	}, s.endpoints)
	if err != nil {
		s.opts.Logger.Warn("service: the service could not be announced", "service", s.name, "error", err)
		return
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.stop = stop
	}
	s.mu.Unlock()
	if closed {
		_ = stop()
	}
}

// endpoints returns what the binding is to others.
func (b *Binding) endpoints() (list []Endpoint) {
	b.stats.mu.Lock()
	last := b.stats.last
	b.stats.mu.Unlock()
	for _, subject := range b.subjects {
		list = append(list, Endpoint{
			Subject: subject, Queue: b.queue, LastError: last, Requests: b.stats.requests.Load(), Errors: b.stats.errors.Load(),
			Dropped: b.stats.dropped.Load(), Busy: b.stats.busyTime(),
		})
	}
	return list
}
