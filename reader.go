package flyrpc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// firstLarge is how much memory in bytes is taken for a large payload before any of it has come.
const firstLarge = 256 << 10

// briefRead is how many bytes are read, behind a large payload, to find the next header: what is
// read of another large payload there has to be copied.
const briefRead = 512

// errLarge says that a large payload comes next, and nothing of it was read.
var errLarge = errors.New("flyrpc: a large payload comes")

// received is a packet as the reader finds it.
type received struct {
	header
	payload []byte  // metadata block and body
	whole   *pieces // the payload of what came in pieces, instead
	// learned is the path that a learned code, wireCode, stood for, or nil.
	learned  *learnedPath
	wireCode []byte
	// shared means that the payload is in the read buffer, which the next packet overwrites.
	shared bool
}

// bytes returns the payload, joined if it came in pieces.
func (p *received) bytes(bufs *buffers) []byte {
	if p.whole != nil {
		return p.whole.join(bufs)
	}
	return p.payload
}

// reader is the read side of a connection. It holds no buffer while the connection
// is idle, where the transport allows that.
type reader struct {
	conn  net.Conn
	raw   transport.Socket // nil where there is no socket of the system
	turns bool             // goroutines may take turns in reading, as they do with sockets
	bufs  *buffers
	max   uint64    // bytes of payload in a packet
	wait  func()    // called before the reader waits for the transport
	now   time.Time // when the last bytes came
	brief bool      // a large payload was the last one, so a header is to be expected and not much more
	small bool      // a large payload is left for later: next fails with errLarge

	born  time.Time     // what times are counted from
	last  atomic.Int64  // now, in nanoseconds since born, for who doesn't read
	amid  atomic.Uint32 // odd while a packet is waited for that has begun
	bulk  atomic.Uint64 // bytes of large payloads, and of what is skipped
	began func()        // called when such waiting begins
	some  bool          // amid is odd
	get   func() []byte
	put   func([]byte)
	first func(byte) error // sees the first byte and may refuse it; nil afterwards

	parks *Conn // to be parked when no packet comes; nil if it must not be

	buf  []byte // nil or bufferSize
	r, w int    // what is read and not parsed: buf[r:w]
}

// init prepares the reader for its first packet.
func (r *reader) init() {
	if raw, ok := transport.SocketOf(r.conn); ok {
		r.raw = raw
	}
	_, turns := r.conn.(transport.TurnReader)
	r.turns = turns || r.raw != nil
	r.get, r.put = r.take, r.pause
}

// adopt makes the reader go on where from, if it isn't nil, has read the first bytes; else first sees the
// first byte that comes, and may refuse it.
func (r *reader) adopt(from *reader, first func(byte) error) {
	if from == nil || from.r == from.w {
		r.first = first
		return
	}
	r.buf, r.r, r.w, r.now = from.buf, from.r, from.w, from.now
	from.buf, from.r, from.w = nil, 0, 0
}

// take returns the reader's buffer, or one of the pool's, or so much of it as should be read at once.
func (r *reader) take() []byte {
	if r.buf == nil {
		r.buf = r.bufs.get()
	}
	if r.brief {
		return r.buf[:briefRead]
	}
	return r.buf
}

// giveBack returns the reader's buffer, which holds nothing, to the pool.
func (r *reader) giveBack() {
	if r.buf != nil {
		r.bufs.put(r.buf)
		r.buf = nil
	}
}

// pause gives the buffer back before the transport is waited for.
func (r *reader) pause([]byte) {
	r.giveBack()
	if r.parks != nil && !r.small {
		r.parks.beginRest()
	}
}

// next returns the next packet. Its code, and its payload if that is shared, are
// valid until the next call. The errors are the transport's, io.ErrUnexpectedEOF
// for one that ends in a packet, ErrLongCode, errPark, and ErrLongPayload, after which the
// header is valid and its payload must be skipped.
func (r *reader) next() (p received, err error) {
	for {
		h, n, err := parseHeader(r.buf[r.r:r.w])
		switch {
		case err == nil && h.length >= largeBody && r.small:
			return received{}, errLarge
		case err == nil && h.length > r.max:
			r.r += n
			r.end()
			return received{header: h}, fmt.Errorf("%w: %d bytes, at most %d", ErrLongPayload, h.length, r.max)
		case err == nil && h.length >= largeBody:
			r.begin()
			if r.wait != nil {
				r.wait()
			}
			r.r += n
			payload, err := r.large(int(h.length))
			r.brief = r.r == r.w
			return received{header: h, payload: payload}, err
		case err == nil && r.w-r.r-n >= int(h.length):
			end := r.r + n + int(h.length)
			payload := r.buf[r.r+n : end : end]
			r.r = end
			r.end()
			return received{header: h, payload: payload, shared: true}, nil
		case err != nil && err != ErrShortPacket:
			return received{}, err
		}
		if err := r.fill(); err != nil {
			return received{}, err
		}
	}
}

// maxEmptyReads is how many reads in a row may come back with neither bytes nor an error.
const maxEmptyReads = 100

// fill reads more bytes behind those that are there.
func (r *reader) fill() error {
	for range maxEmptyReads {
		if err := r.fillOnce(); err != io.ErrNoProgress {
			return err
		}
	}
	return io.ErrNoProgress
}

// fillOnce is fill that fails with io.ErrNoProgress if nothing came.
func (r *reader) fillOnce() error {
	if r.r < r.w {
		r.begin()
	}
	if r.wait != nil {
		r.wait()
	}
	var n int
	var err error
	if r.r == r.w {
		r.r, r.w = 0, 0
		if r.raw != nil {
			_, n, err = r.raw.Read(r.get, r.put)
			if r.parks != nil && r.parks.rest.begun {
				err = r.parks.endRest(err)
			}
		} else {
			n, err = r.conn.Read(r.take())
		}
	} else {
		if r.r > 0 {
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		}
		n, err = r.conn.Read(r.buf[r.w:])
	}
	r.w += n
	r.brief = false
	if n > 0 {
		return r.came()
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if err == io.EOF && r.r < r.w {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// came notes that bytes have come.
func (r *reader) came() (err error) {
	r.now = time.Now()
	r.last.Store(int64(r.now.Sub(r.born)))
	if r.first != nil {
		err, r.first = r.first(r.buf[r.r]), nil
	}
	return err
}

// begin says that a packet that has begun is waited for.
func (r *reader) begin() {
	if r.some {
		return
	}
	r.some = true
	r.amid.Add(1)
	if r.began != nil {
		r.began()
	}
}

// end says that a packet has come.
func (r *reader) end() {
	if r.some {
		r.some = false
		r.amid.Add(1)
	}
}

// large reads a payload of n bytes into memory of its own, which is taken as the
// bytes come.
func (r *reader) large(n int) ([]byte, error) {
	r.begin()
	defer r.end()
	var payload []byte
	if n <= partBuffer {
		payload = r.bufs.getPart()[:0]
	} else {
		payload = make([]byte, 0, min(n, firstLarge))
	}
	got := copy(payload[:min(n, cap(payload))], r.buf[r.r:r.w])
	payload = payload[:got]
	r.r += got
	for len(payload) < n {
		if len(payload) == cap(payload) {
			grown := make([]byte, len(payload), min(n, 4*len(payload)))
			copy(grown, payload)
			payload = grown
		}
		m, err := io.ReadAtLeast(r.conn, payload[len(payload):min(n, cap(payload))], 1)
		payload = payload[:len(payload)+m]
		r.bulk.Add(uint64(m))
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return payload, nil
}

// skip reads n bytes, which belong to a packet, and drops them.
func (r *reader) skip(n uint64) error {
	r.begin()
	defer r.end()
	parks := r.parks
	r.parks = nil // not within a packet
	defer func() { r.parks = parks }()
	for {
		have := min(uint64(r.w-r.r), n)
		r.r += int(have)
		r.bulk.Add(have)
		if n -= have; n == 0 {
			return nil
		}
		if err := r.fill(); err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
	}
}

// buffered returns how many bytes are read and not parsed.
func (r *reader) buffered() int { return r.w - r.r }

// release gives the buffer back when the connection has ended.
func (r *reader) release() { r.giveBack() }
