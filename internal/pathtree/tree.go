package pathtree

import "strings"

// Tree holds a value for each of its patterns. The zero Tree is empty and ready for
// use. Matches may run concurrently with each other, but not with Add.
type Tree[V any] struct {
	root node[V]
}

// node is a position in patterns, behind as many segments as it is deep.
type node[V any] struct {
	literals map[string]*node[V] // by the text of the next segment
	one      *node[V]            // behind a {name}
	rest     *leaf[V]            // of the pattern whose next segment is {name...}
	end      *leaf[V]            // of the pattern that ends here
}

type leaf[V any] struct {
	value V
}

// Add puts a pattern with its value into the tree. If a pattern of the same shape
// is there, the tree stays as it is, and Add returns false with that one's value.
func (t *Tree[V]) Add(p Pattern, v V) (V, bool) {
	n, spot := &t.root, (**leaf[V])(nil)
	for _, s := range p.parts() {
		switch s.kind {
		case literal:
			n = n.literal(s.text)
		case one:
			if n.one == nil {
				n.one = new(node[V])
			}
			n = n.one
		case rest:
			spot = &n.rest
		}
	}
	if spot == nil {
		spot = &n.end
	}
	if *spot != nil {
		return (*spot).value, false
	}
	*spot = &leaf[V]{value: v}
	return v, true
}

// parts returns the segments of any pattern, an exact one included.
func (p Pattern) parts() []segment {
	if !p.Exact() {
		return p.segments
	}
	var parts []segment
	for text := range strings.SplitSeq(p.text, "/") {
		parts = append(parts, segment{kind: literal, text: text})
	}
	return parts
}

// literal returns the node behind a segment of literal text, which it makes if it
// isn't there.
func (n *node[V]) literal(text string) *node[V] {
	next := n.literals[text]
	if next == nil {
		if n.literals == nil {
			n.literals = make(map[string]*node[V])
		}
		next = new(node[V])
		n.literals[text] = next
	}
	return next
}

// Match returns the value of the pattern that matches path best, and what its names
// stand for, in their order. The values share path's memory. It reports false if no
// pattern matches.
//
// A match visits each node of the tree at most once, since the way to a node fixes
// how much of the path lies before it, and goes at most as deep as the longest
// pattern. So its cost is bounded by the patterns in the tree, whatever the path.
// It allocates nothing but the slice of values.
func (t *Tree[V]) Match(path string) (value V, values []string, ok bool) {
	l, values := t.root.match(path, true, 0)
	if l == nil {
		return value, nil, false
	}
	return l.value, values, true
}

// match finds the best leaf below n for what is left of a path. more says that a
// segment is left, which may be empty; named counts the values found before. The
// slice of values is made when the leaf is found and filled on the way back.
func (n *node[V]) match(left string, more bool, named int) (*leaf[V], []string) {
	if !more {
		if n.end == nil {
			return nil, nil
		}
		return n.end, make([]string, named)
	}
	part, tail, more := strings.Cut(left, "/")
	if next := n.literals[part]; next != nil {
		if l, values := next.match(tail, more, named); l != nil {
			return l, values
		}
	}
	if n.one != nil && part != "" {
		if l, values := n.one.match(tail, more, named+1); l != nil {
			values[named] = part
			return l, values
		}
	}
	if n.rest == nil {
		return nil, nil
	}
	values := make([]string, named+1)
	values[named] = left
	return n.rest, values
}
