package membus

import (
	"slices"
	"strings"
	"sync/atomic"
)

// tree finds the subscriptions for a subject.
type tree struct {
	root node
	turn atomic.Uint64 // counts what queues were given, so that their members take turns
}

// node is what subscriptions have in common that begin with the same tokens.
type node struct {
	next map[string]*node // by the next token, wildcards among them
	subs []*subscription  // whose subject ends here
}

// matches are the subscriptions for one message.
type matches struct {
	all    []*subscription
	queues map[string][]*subscription
}

// add adds a subscription.
func (t *tree) add(s *subscription) {
	n := &t.root
	for token := range strings.SplitSeq(s.subject, ".") {
		if n.next == nil {
			n.next = map[string]*node{}
		}
		if n.next[token] == nil {
			n.next[token] = &node{}
		}
		n = n.next[token]
	}
	n.subs = append(n.subs, s)
}

// remove removes a subscription and what was there for it alone.
func (t *tree) remove(s *subscription) { t.root.remove(s, s.subject) }

// remove removes s below n, and reports whether nothing is left there.
func (n *node) remove(s *subscription, subject string) (empty bool) {
	token, rest, more := strings.Cut(subject, ".")
	child := n.next[token]
	if child == nil {
		return false
	}
	if !more {
		child.subs = slices.DeleteFunc(child.subs, func(o *subscription) bool { return o == s })
	}
	if more && child.remove(s, rest) || !more && child.isEmpty() {
		delete(n.next, token)
	}
	return n.isEmpty()
}

func (n *node) isEmpty() bool { return len(n.next) == 0 && len(n.subs) == 0 }

// match adds to m what subject is for.
func (t *tree) match(subject string, m *matches) { t.root.match(subject, m) }

func (n *node) match(subject string, m *matches) {
	if rest := n.next[">"]; rest != nil {
		m.add(rest.subs)
	}
	token, rest, more := strings.Cut(subject, ".")
	for _, child := range []*node{n.next[token], n.next["*"]} {
		switch {
		case child == nil:
		case more:
			child.match(rest, m)
		default:
			m.add(child.subs)
		}
	}
}

// add adds subscriptions, by their queues.
func (m *matches) add(subs []*subscription) {
	for _, s := range subs {
		if s.queue == "" {
			m.all = append(m.all, s)
			continue
		}
		if m.queues == nil {
			m.queues = map[string][]*subscription{}
		}
		m.queues[s.queue] = append(m.queues[s.queue], s)
	}
}
