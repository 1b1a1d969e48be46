package compress_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-flyrpc/flyrpc/internal/compress"
)

var methods = []compress.Method{compress.Zstd, compress.Flate}

var both = compress.Set(0).With(compress.Zstd).With(compress.Flate)

// jsonBytes returns n bytes of a list of orders as JSON.
func jsonBytes(n int) []byte {
	type item struct {
		SKU   string  `json:"sku"`
		Count int     `json:"count"`
		Price float64 `json:"price"`
	}
	type order struct {
		ID       string `json:"id"`
		Customer string `json:"customer"`
		Created  int64  `json:"created"`
		Paid     bool   `json:"paid"`
		Note     string `json:"note,omitempty"`
		Items    []item `json:"items"`
	}
	names := []string{"Ada Lovelace", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth", "松本行弘"}
	r := rand.New(rand.NewPCG(1, 2))
	out := []byte{'['}
	for len(out) < n {
		o := order{
			ID:       fmt.Sprintf("%016x", r.Uint64()),
			Customer: names[r.IntN(len(names))],
			Created:  1700000000 + r.Int64N(1e7),
			Paid:     r.IntN(2) == 0,
		}
		if r.IntN(4) == 0 {
			o.Note = "leave it with the neighbours"
		}
		for range 1 + r.IntN(4) {
			o.Items = append(o.Items, item{fmt.Sprintf("SKU-%05d", r.IntN(1e5)), 1 + r.IntN(9), float64(r.IntN(1e5)) / 100})
		}
		b, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		out = append(append(out, b...), ',')
	}
	return out[:n]
}

// randomBytes returns n bytes that can't be compressed.
func randomBytes(n int) []byte {
	seed := [32]byte{byte(n), byte(n >> 8), byte(n >> 16)}
	out := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(out)
	return out
}

var benchSizes = []struct {
	name  string
	bytes int
}{{"1KiB", 1 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}}

func BenchmarkAppend(b *testing.B) {
	for _, m := range methods {
		for _, data := range []struct {
			name string
			make func(int) []byte
		}{{"json", jsonBytes}, {"random", randomBytes}} {
			for _, size := range benchSizes {
				b.Run(fmt.Sprintf("%s/%s/%s", m, data.name, size.name), func(b *testing.B) {
					var c compress.Codec
					src := data.make(size.bytes)
					dst := make([]byte, 0, 2*len(src))
					ratio := 1.0
					if out, ok := c.Append(dst, src, m); ok {
						ratio = float64(len(src)) / float64(len(out))
					}
					b.SetBytes(int64(len(src)))
					b.ReportAllocs()
					for b.Loop() {
						c.Append(dst, src, m)
					}
					b.ReportMetric(ratio, "ratio")
				})
			}
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, m := range methods {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/json/%s", m, size.name), func(b *testing.B) {
				var c compress.Codec
				plain := jsonBytes(size.bytes)
				src, ok := c.Append(nil, plain, m)
				if !ok {
					b.Fatal("not compressed")
				}
				b.SetBytes(int64(len(plain)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Inflate(nil, src, 4<<20, both); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(plain))/float64(len(src)), "ratio")
			})
		}
	}
}

func BenchmarkCode(b *testing.B) {
	const code = "inventory.warehouse.reservations.reservationsByWarehouse.listReservations"
	for _, m := range methods {
		b.Run(m.String(), func(b *testing.B) {
			var c compress.Codec
			packed, ok := c.AppendCode(nil, code, m)
			if !ok {
				b.Fatal("not smaller")
			}
			b.ReportAllocs()
			var dst [128]byte
			for b.Loop() {
				p, _ := c.AppendCode(dst[:0], code, m)
				if _, err := c.InflateCode(nil, p, compress.MaxCode, both); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(code))/float64(len(packed)), "ratio")
		})
	}
}
