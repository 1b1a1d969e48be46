package flyrpc

import "fmt"

// A path that comes again on a connection is taught to the other end once and then stands
// on the wire as two bytes; see docs/PROTOCOL.md, section 5. Each direction has its own.

const (
	// learnedMark is the first byte of a code that teaches, or stands for, a path.
	learnedMark = 0x01
	// firstLearned is the first id, which is the code's second byte.
	firstLearned = 0x02
	// maxLearned is the most paths a side is taught: ids 02 to 7F.
	maxLearned = 126
	// maxLearnedBytes is the most bytes of paths a side keeps.
	maxLearnedBytes = 16 << 10
	// maxTaught is the longest path, in bytes, that this side teaches.
	maxTaught = 255
)

// taught is what the other end has been taught, in the order in which it is written. The zero
// taught teaches nothing.
type taught struct {
	limit int               // paths that the other end keeps
	codes map[string]string // the code that stands for a path
	bytes int
	once  *[32]uint64 // a bit for the hash of each path that was written once; nil before the first
	ones  int         // how many bits are set
}

// code returns what to write for a path: the path itself the first time, what teaches
// it the second time, and then what stands for it. When the other end keeps no more, and for paths
// that are too long to keep, that is the path itself.
func (t *taught) code(path string) string {
	if t.limit == 0 {
		return path
	}
	if code, ok := t.codes[path]; ok {
		return code
	}
	if len(t.codes) == t.limit || len(path) < 2 || len(path) > maxTaught || t.bytes+len(path) > maxLearnedBytes {
		return path
	}
	if !t.again(path) {
		return path
	}
	if t.codes == nil {
		t.codes = make(map[string]string)
	}
	teaching := string([]byte{learnedMark, byte(firstLearned + len(t.codes))}) + path
	t.codes[teaching[2:]] = teaching[:2]
	t.bytes += len(path)
	return teaching
}

// again reports whether path was written before. It may be wrong where many paths were written once.
func (t *taught) again(path string) bool {
	h := uint32(2166136261) // FNV-1a
	for i := range len(path) {
		h = (h ^ uint32(path[i])) * 16777619
	}
	if t.once == nil {
		t.once = new([32]uint64)
	}
	word, bit := &t.once[h>>6%uint32(len(t.once))], uint64(1)<<(h&63)
	if *word&bit != 0 {
		return true
	}
	if t.ones++; t.ones > 16*len(t.once) { // too many to be told apart
		*t.once, t.ones = [32]uint64{}, 1
	}
	*word |= bit
	return false
}

// learned is what this side has been taught.
type learned struct {
	paths []*learnedPath // by id less firstLearned; nil where nothing was taught
	bytes int
}

// learnedPath is a path with the route it leads to.
type learnedPath struct {
	path   []byte
	at     *snapshot // the routes among which route was found; nil if it wasn't looked for
	route  *route
	params []string
	full   string
}

// resolve returns the path that a code stands for, and keeps what the code teaches. The error is for
// codes that nothing can be made of: sender and receiver don't agree any more.
func (l *learned) resolve(code []byte) (*learnedPath, error) {
	if len(code) < 2 || code[1] < firstLearned || code[1] >= firstLearned+maxLearned {
		return nil, fmt.Errorf("flyrpc: %x begins like a learned code and has no id from 02 to 7f", code[:min(len(code), 2)])
	}
	id := int(code[1]) - firstLearned
	path := code[2:]
	if len(path) == 0 {
		if id >= len(l.paths) || l.paths[id] == nil {
			return nil, fmt.Errorf("flyrpc: learned code %02x was not taught", code[1])
		}
		return l.paths[id], nil
	}
	if path[0] == learnedMark {
		return nil, fmt.Errorf("flyrpc: learned code %02x is taught %.20q, and no path begins so", code[1], path)
	}
	for id >= len(l.paths) {
		l.paths = append(l.paths, nil)
	}
	if old := l.paths[id]; old != nil {
		l.bytes -= len(old.path)
	}
	if l.bytes += len(path); l.bytes > maxLearnedBytes {
		return nil, fmt.Errorf("flyrpc: the paths of learned codes have more than %d bytes", maxLearnedBytes)
	}
	l.paths[id] = &learnedPath{path: append([]byte(nil), path...)}
	return l.paths[id], nil
}

// find is Router.find that looks again only when routes have been added.
func (l *learnedPath) find(r *Router) (rt *route, params []string, full string) {
	if at := r.table.load(); l.at != at {
		l.route, l.params, l.full = r.find(l.path)
		l.at = at
	}
	return l.route, l.params, l.full
}

// readCode replaces a learned code by its path. It is called for every packet, in their order.
func (c *Conn) readCode(p *received) error {
	if len(p.code) == 0 || p.code[0] != learnedMark || p.flag&(FlagResponse|FlagZipCode) != 0 || p.flag&(FlagStream|FlagWait) == FlagStream {
		return nil
	}
	if m := c.mode.Load(); m == nil || m.v1 {
		return nil
	}
	l, err := c.learned.resolve(p.code)
	if err != nil {
		return err
	}
	p.wireCode, p.code, p.learned = p.code, l.path, l
	return nil
}
