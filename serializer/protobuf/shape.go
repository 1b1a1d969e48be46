package protobuf

import (
	"reflect"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// growth is how many bytes are allocated for each byte of a list that grows as it is read.
const growth = 3

// What the Go values of a message take in memory.
const (
	pointer    = 8
	presence   = 32  // a field behind a pointer or in a oneof
	roundUp    = 8   // lost to size classes at a small allocation
	mapSlots   = 8   // entries in the smallest table of a map
	mapHeader  = 80  // the runtime's map and its table
	mapGrowth  = 4   // for each byte of a larger map's entries
	extension  = 128 // an extension field, whose type isn't looked up
	perExtByte = 64  // each byte of it
)

// shape is what decoding one message type costs. It doesn't change once made.
type shape struct {
	fields     map[protowire.Number]*field
	extensible bool
	flat       bool // one value in each field, and no message
}

// field is what one occurrence of a field costs.
type field struct {
	cost   uint64 // apart from what it contains
	table  uint64 // for the first entry of a map in a message
	elem   uint64 // a packed element, 0 if the field can't be packed
	width  uint64 // bytes of a packed element in the data, 0 for varints
	bit    uint64 // the field's place among those of its message
	inside *shape // of the message or map entry inside, nil for other kinds
}

// shapeOf returns the shape of a message, made once for each type.
func (c *codec) shapeOf(m protoreflect.Message) *shape {
	d := m.Descriptor()
	if s, ok := c.shapes.Load(d); ok {
		return s.(*shape)
	}
	s, _ := c.shapes.LoadOrStore(d, builder{}.shape(m))
	return s.(*shape)
}

// builder has the shapes of the message types met so far, for types that contain themselves.
type builder map[protoreflect.FullName]*shape

func (b builder) shape(m protoreflect.Message) *shape {
	d := m.Descriptor()
	if s := b[d.FullName()]; s != nil {
		return s
	}
	s := &shape{
		fields:     make(map[protowire.Number]*field, d.Fields().Len()),
		extensible: d.ExtensionRanges().Len() > 0,
	}
	flat := !s.extensible
	b[d.FullName()] = s
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		f := b.field(m, fd)
		f.bit = 1 << (i % 64)
		s.fields[fd.Number()] = f
		flat = flat && !fd.IsList() && f.inside == nil
	}
	s.flat = flat
	return s
}

func (b builder) field(m protoreflect.Message, fd protoreflect.FieldDescriptor) *field {
	switch {
	case fd.IsMap():
		return b.mapField(m, fd)
	case fd.IsList() && fd.Message() != nil:
		return b.message(m.NewField(fd).List().NewElement().Message(), growth*pointer)
	case fd.Message() != nil:
		return b.message(m.NewField(fd).Message(), presence)
	}
	size, width := scalar(fd.Kind())
	switch {
	case !fd.IsList():
		return &field{cost: presence}
	case size > 8:
		return &field{cost: growth*size + roundUp}
	}
	return &field{cost: growth * size, elem: size, width: width}
}

func (b builder) message(m protoreflect.Message, slot uint64) *field {
	return &field{cost: goSize(m) + slot, inside: b.shape(m)}
}

// mapField treats an entry as a message with the key as field 1 and the value as field 2.
func (b builder) mapField(m protoreflect.Message, fd protoreflect.FieldDescriptor) *field {
	key, _ := scalar(fd.MapKey().Kind())
	value := uint64(pointer)
	entry := &shape{fields: map[protowire.Number]*field{1: {cost: roundUp}, 2: {cost: roundUp}}}
	f := &field{inside: entry}
	if fd.MapValue().Message() != nil {
		entry.fields[2] = b.message(m.NewField(fd).Map().NewValue().Message(), 0)
		f.cost = entry.fields[2].cost // a value that is absent from the data is made too
	} else {
		value, _ = scalar(fd.MapValue().Kind())
	}
	f.cost += mapGrowth * (key + value + 1)
	f.table = mapHeader + mapSlots*(key+value+1)
	return f
}

// scalar is the size of a kind in Go, and packed in the data: 0 for varints.
func scalar(k protoreflect.Kind) (size, width uint64) {
	switch k {
	case protoreflect.BoolKind:
		return 1, 0
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind, protoreflect.EnumKind:
		return 4, 0
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return 4, 4
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return 8, 8
	case protoreflect.StringKind:
		return 16, 0
	case protoreflect.BytesKind:
		return 24, 0
	}
	return 8, 0
}

// goSize is what a new message takes.
func goSize(m protoreflect.Message) uint64 {
	t := reflect.TypeOf(m.Interface())
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return uint64(t.Size()) + uint64(t.Size())/8 + roundUp
}
