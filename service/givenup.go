package service

import "sync"

// maxGivenUp is how many calls are remembered that were given up.
const maxGivenUp = 4 << 10

// givenUp has the calls that were given up lately. The word of it goes to all instances, by a subject of its own, and may be there before the request is.
type givenUp struct {
	mu   sync.Mutex
	has  map[callKey]struct{}
	ring []callKey
	next int
}

// add adds a call. The oldest one is forgotten for it when there are many.
func (g *givenUp) add(k callKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.has[k]; ok {
		return
	}
	if g.has == nil {
		g.has = map[callKey]struct{}{}
	}
	if len(g.ring) < maxGivenUp {
		g.ring = append(g.ring, k)
	} else {
		delete(g.has, g.ring[g.next])
		g.ring[g.next] = k
		g.next = (g.next + 1) % maxGivenUp
	}
	g.has[k] = struct{}{}
}

// contains reports whether a call was given up.
func (g *givenUp) contains(k callKey) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.has[k]
	return ok
}
