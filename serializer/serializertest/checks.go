package serializertest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/go-flyrpc/flyrpc/serializer"
)

type kit struct {
	t TB
	s serializer.Serializer
}

// encode is Encode, with a panic as an error that is reported.
func (k *kit) encode(dst []byte, v any) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			k.t.Errorf("Encode(%T) panicked: %v", v, r)
			out, err = dst, fmt.Errorf("panic: %v", r)
		}
	}()
	return k.s.Encode(dst, v)
}

// decode is the same for Decode.
func (k *kit) decode(data []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			k.t.Errorf("Decode(%d bytes, %T) panicked: %v", len(data), v, r)
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return k.s.Decode(data, v)
}

func (k *kit) name() {
	first := k.s.Name()
	if first == "" {
		k.t.Errorf("Name is empty; the ends of a connection need one to agree on")
	}
	for range 10 {
		if name := k.s.Name(); name != first {
			k.t.Errorf("Name was %q and then %q; it must not change", first, name)
			return
		}
	}
}

// roundTrip returns the sample's encoding, nil when there is none.
func (k *kit) roundTrip(sample Sample) []byte {
	data, err := k.encode(nil, sample.Value)
	if err != nil {
		k.t.Errorf("Encode(%T): %v", sample.Value, err)
		return nil
	}
	v := sample.New()
	if err := k.decode(data, v); err != nil {
		k.t.Errorf("Decode of an encoded %T: %v", sample.Value, err)
		return nil
	}
	if !sample.Equal(v) {
		k.t.Errorf("%T was %+v and came back as %+v", sample.Value, sample.Value, v)
		return nil
	}
	if data == nil {
		data = []byte{}
	}
	return data
}

// appends checks Encode behind bytes that are there, without room and with room
// for more than the encoding.
func (k *kit) appends(sample Sample, encoded []byte) {
	const prefix = "before "
	for _, room := range []int{0, 1, 2*len(encoded) + 64} {
		dst := append(make([]byte, 0, len(prefix)+room), prefix...)
		out, err := k.encode(dst, sample.Value)
		if err != nil {
			k.t.Errorf("Encode(%T) behind other bytes: %v", sample.Value, err)
			return
		}
		if string(dst) != prefix || !bytes.HasPrefix(out, dst) {
			k.t.Errorf("Encode(%T) changed the bytes before it to %.20q; it must append", sample.Value, out)
			return
		}
		if room > 2*len(encoded) && &out[0] != &dst[0] {
			k.t.Errorf("Encode(%T) made a new slice though there was room; it must append to dst", sample.Value)
		}
		v := sample.New()
		if err := k.decode(out[len(prefix):], v); err != nil || !sample.Equal(v) {
			k.t.Errorf("Encode(%T) behind other bytes gives another encoding: %v", sample.Value, err)
		}
	}
}

// keepsNothing checks that Decode copies, and doesn't write to its data.
func (k *kit) keepsNothing(sample Sample, encoded []byte) {
	data := slices.Clone(encoded)
	v := sample.New()
	if err := k.decode(data, v); err != nil {
		k.t.Errorf("Decode into %T the second time: %v", v, err)
		return
	}
	if !bytes.Equal(data, encoded) {
		k.t.Errorf("Decode into %T changed its data", v)
	}
	for i := range data {
		data[i] ^= 0xff
	}
	if !sample.Equal(v) {
		k.t.Errorf("what was decoded into %T changed with the data; Decode must copy", v)
	}
}

// survivesDamage decodes cut, changed and random data. Whether it is accepted is
// the format's affair.
func (k *kit) survivesDamage(sample Sample, encoded []byte) {
	step := max(1, len(encoded)/256)
	for n := 0; n < len(encoded); n += step {
		_ = k.decode(slices.Clip(encoded[:n]), sample.New())
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		damaged := slices.Clone(encoded)
		for range 1 + random.IntN(4) {
			if len(damaged) > 0 {
				damaged[random.IntN(len(damaged))] = byte(random.Uint32())
			}
		}
		_ = k.decode(damaged, sample.New())
		garbage := make([]byte, random.IntN(64))
		for i := range garbage {
			garbage[i] = byte(random.Uint32())
		}
		_ = k.decode(garbage, sample.New())
	}
}

// refusesTargets checks what can't be decoded into.
func (k *kit) refusesTargets(encoded []byte) {
	var nilInt *int
	var nilMap *map[string]any
	for _, v := range []any{nil, nilInt, nilMap, 1, "text", struct{ A int }{}, []int{1}} {
		if err := k.decode(encoded, v); err == nil {
			k.t.Errorf("Decode into %T(%v) succeeded; it must fail for what is not a pointer, or a nil one", v, v)
		}
	}
	for _, v := range []any{nil, nilInt, nilMap} {
		_, _ = k.encode(nil, v)
	}
}

// encodeErrors checks that Encode leaves dst alone when it fails.
func (k *kit) encodeErrors() {
	for _, v := range []any{
		make(chan int), func() {},
		struct{ A, B any }{"a text before what can't be encoded", make(chan int)},
		[]any{"x", func() {}},
	} {
		dst := append(make([]byte, 0, 256), "before"...)
		out, err := k.encode(dst, v)
		if err == nil {
			k.t.Errorf("Encode(%T) succeeded; it must fail for what can't be decoded again", v)
		} else if string(out) != "before" || string(dst) != "before" {
			k.t.Errorf("Encode(%T) failed and returned %.40q; it must return dst as it was", v, out)
		}
	}
}

// concurrent uses the serializer from many goroutines.
func (k *kit) concurrent(samples []Sample, encoded [][]byte) {
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for g := range cap(errs) {
		wg.Go(func() {
			for i := range 25 {
				n := (g + i) % len(samples)
				if err := k.once(samples[n], encoded[n]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		k.t.Errorf("with several goroutines: %v", err)
	}
}

func (k *kit) once(sample Sample, encoded []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	if encoded == nil {
		return nil
	}
	if name := k.s.Name(); name == "" {
		return fmt.Errorf("the name is empty")
	}
	data, err := k.s.Encode(nil, sample.Value)
	if err != nil {
		return err
	}
	v := sample.New()
	if err := k.s.Decode(data, v); err != nil {
		return err
	}
	if !sample.Equal(v) {
		return fmt.Errorf("%T came back as %+v", sample.Value, v)
	}
	return nil
}
