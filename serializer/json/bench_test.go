package json_test

import (
	"testing"

	"github.com/go-flyrpc/flyrpc/serializer/json"
)

type message struct {
	ID      int64
	Name    string
	Payload []byte
}

var sample = message{ID: 1234567, Name: "benchmark", Payload: []byte("0123456789abcdef0123456789")}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 256)
	for b.Loop() {
		if _, err := json.Serializer.Encode(buf, &sample); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	data, _ := json.Serializer.Encode(nil, &sample)
	b.SetBytes(int64(len(data)))
	var m message
	for b.Loop() {
		if err := json.Serializer.Decode(data, &m); err != nil {
			b.Fatal(err)
		}
	}
}
