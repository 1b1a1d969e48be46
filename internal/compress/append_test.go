package compress_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/go-flyrpc/flyrpc/internal/compress"
)

func TestMethod(t *testing.T) {
	for _, m := range methods {
		if got, ok := compress.ParseMethod(m.String()); !ok || got != m {
			t.Errorf("%s is parsed as %s, %v", m, got, ok)
		}
		if only := compress.Set(0).With(m); !only.Has(m) || only == both || !both.Has(m) {
			t.Errorf("the set of %s is %s", m, only)
		}
	}
	for _, name := range []string{"", "none", "gzip", "ZSTD"} {
		if got, ok := compress.ParseMethod(name); ok || got != compress.None {
			t.Errorf("%q is parsed as %s", name, got)
		}
	}
	if compress.None.String() != "none" || both.Has(compress.None) || compress.Set(0).With(compress.None) != 0 || both.With(9) != both || compress.Set(0).Has(compress.Flate) {
		t.Error("None, or what is no method, is in a set")
	}
}

// bodies are worth compressing.
func bodies() map[string][]byte {
	base := base64.StdEncoding.EncodeToString(randomBytes(100 << 10))
	all := map[string][]byte{
		"zeros":            make([]byte, 400<<10),
		"base64":           []byte(base),
		"base64 in JSON":   append(jsonBytes(20<<10), base...),
		"Chinese":          []byte(strings.Repeat("天地玄黄宇宙洪荒日月盈昃辰宿列张", 4000)),
		"random, repeated": bytes.Repeat(randomBytes(1000), 100),
		"partly random":    append(randomBytes(80<<10), jsonBytes(40<<10)...),
	}
	for _, n := range []int{1 << 10, 2 << 10, 10_000, 32<<10 - 1, 32 << 10, 64 << 10, 128 << 10, 128<<10 + 17, 300_000, 1_200_000} {
		all[fmt.Sprintf("JSON of %d bytes", n)] = jsonBytes(n)
	}
	return all
}

// TestAppend checks what is compressed against the standard library's flate and against a
// zstd decoder with its defaults.
func TestAppend(t *testing.T) {
	var c compress.Codec
	for name, body := range bodies() {
		for _, m := range methods {
			for _, room := range []int{0, 100, 4 << 20} {
				dst := append(make([]byte, 0, 3+room), "dst"...)
				out, ok := c.Append(dst, body, m)
				if !ok || len(out)-3 >= len(body) || string(out[:3]) != "dst" {
					t.Errorf("%s, %s: %v, %d bytes", name, m, ok, len(out))
					continue
				}
				if plain, err := inflatedPlain(out[3:]); err != nil || !bytes.Equal(plain, body) {
					t.Errorf("%s, %s: %d bytes, %v", name, m, len(plain), err)
				}
				if plain, err := c.Inflate(nil, out[3:], len(body), both); err != nil || !bytes.Equal(plain, body) {
					t.Errorf("%s, %s: inflated to %d bytes, %v", name, m, len(plain), err)
				}
			}
		}
	}
}

// TestOthersOutput inflates what other encoders make, at all their levels.
func TestOthersOutput(t *testing.T) {
	var c compress.Codec
	levels := []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression}
	for name, body := range map[string][]byte{
		"empty": {}, "a byte": {7}, "a word": []byte("word"), "random": randomBytes(50_000),
		"JSON of 300": jsonBytes(300), "JSON of 5,000": jsonBytes(5000), "JSON of 150,000": jsonBytes(150_000), "zeros": make([]byte, 300<<10),
	} {
		inputs := make(map[string][]byte)
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			inputs[fmt.Sprint("flate ", level)] = deflated(body, level)
		}
		for _, level := range levels {
			inputs[fmt.Sprint("zstd ", level)] = encoded(body, zstd.WithEncoderLevel(level), zstd.WithZeroFrames(true))
		}
		inputs["streamed zstd"] = streamed(body, 40_000, zstd.WithZeroFrames(true))
		inputs["zstd, single segment"] = encoded(body, zstd.WithSingleSegment(true), zstd.WithZeroFrames(true))
		inputs["zstd, no checksum"] = encoded(body, zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
		for encoder, src := range inputs {
			out, err := c.Inflate(nil, src, len(body), both)
			if err != nil || !bytes.Equal(out, body) {
				t.Errorf("%s by %s: %d bytes, %v", name, encoder, len(out), err)
			}
		}
	}
}

// TestNotSmaller checks that dst stays as it was where there is nothing to gain.
func TestNotSmaller(t *testing.T) {
	var c compress.Codec
	for _, n := range []int{0, 1, 3, 100, 2 << 10, 31 << 10, 32 << 10, 100 << 10, 200 << 10, 1 << 20} {
		for _, m := range append(methods, compress.None, 77) {
			for _, room := range []int{0, 2 << 20} {
				dst := append(make([]byte, 0, 3+room), "dst"...)
				out, ok := c.Append(dst, randomBytes(n), m)
				if ok || string(out) != "dst" || &out[0] != &dst[0] {
					t.Errorf("%d random bytes by %s: %v, %d bytes", n, m, ok, len(out))
				}
			}
		}
	}
	// A body that looks worth it, and isn't: its first half is random, and so are the samples
	// of the second, but for a few bytes.
	body := randomBytes(300 << 10)
	clear(body[:200])
	for _, m := range methods {
		if out, ok := c.Append(nil, body, m); ok && len(out) >= len(body) {
			t.Errorf("%s: %d bytes became %d", m, len(body), len(out))
		}
	}
	if out, ok := c.Append(nil, jsonBytes(5000), compress.None); ok || out != nil {
		t.Errorf("None made %d bytes", len(out))
	}
}

// TestMagic proves that raw flate never begins with zstd's magic: whatever follows it, the
// fifth byte included, a flate decoder refuses it.
func TestMagic(t *testing.T) {
	for fifth := range 256 {
		src := append([]byte(magic), byte(fifth))
		src = append(src, make([]byte, 1<<16)...)
		n, err := flate.NewReader(bytes.NewReader(src)).Read(make([]byte, 1))
		if corrupt := flate.CorruptInputError(0); n != 0 || !errors.As(err, &corrupt) {
			t.Errorf("the magic and %x are flate: %d bytes, %v", fifth, n, err)
		}
	}
	var c compress.Codec
	text, again := jsonBytes(3000), bytes.Repeat([]byte(magic), 3000)
	for n := 0; n < 3000; n += 1 + n/50 {
		for _, src := range [][]byte{text[:n], make([]byte, n), again[:n]} {
			if out, _ := c.Append(nil, src, compress.Flate); bytes.HasPrefix(out, []byte(magic)) {
				t.Fatalf("%d bytes became what begins with the magic", len(src))
			}
		}
	}
}

func TestCode(t *testing.T) {
	var c compress.Codec
	names := "inventory.warehouse.reservations."
	for _, code := range []string{strings.Repeat(names, 3), strings.Repeat("a", 300), strings.Repeat(names, 100), strings.Repeat("x", compress.MaxCode)} {
		for _, m := range methods {
			out, ok := c.AppendCode([]byte("dst"), code, m)
			if !ok || len(out)-3 >= len(code) || bytes.IndexByte(out, 0) >= 0 {
				t.Fatalf("%d bytes by %s: %v, %x", len(code), m, ok, out)
			}
			back, err := c.InflateCode([]byte("code "), out[3:], compress.MaxCode, both)
			if err != nil || string(back) != "code "+code {
				t.Errorf("%d bytes by %s: %q, %v", len(code), m, back, err)
			}
			if back, err = c.InflateCode(nil, out[3:], len(code)-1, both); !errors.Is(err, compress.ErrTooLong) || back != nil {
				t.Errorf("%d bytes by %s: %v", len(code), m, err)
			}
			if _, err = c.InflateCode(nil, out[3:], compress.MaxCode, 0); !errors.Is(err, compress.ErrMethod) {
				t.Errorf("%s: %v", m, err)
			}
		}
	}
	for _, code := range []string{"", "a", "users.get", string(randomBytes(1000)), strings.Repeat("a", compress.MaxCode+1)} {
		for _, m := range append(methods, compress.None) {
			if out, ok := c.AppendCode([]byte("dst"), code, m); ok || string(out) != "dst" {
				t.Errorf("%d bytes by %s: %v, %q", len(code), m, ok, out)
			}
		}
	}
	for _, test := range []struct {
		src  string
		want error
		text string
	}{
		{"", compress.ErrBadData, "no bytes came, expected a code"},
		{"\x01", compress.ErrBadData, "no bytes came, expected zstd or flate"},
		{"\x02a\x00", compress.ErrBadData, "a code of 3 bytes has a zero byte or is cut off"},
		{"\x09a", compress.ErrBadData, "cut off"},
		{"\x05plai", compress.ErrBadData, "the flate stream is damaged"},
		{strings.Repeat("\x01", 2*compress.MaxCode+66), compress.ErrTooLong, "a code of 8258 bytes came"},
	} {
		out, err := c.InflateCode([]byte("dst"), []byte(test.src), compress.MaxCode, both)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) || string(out) != "dst" {
			t.Errorf("%.20q: %q, %v, expected %v with %q", test.src, out, err, test.want, test.text)
		}
	}
}

func TestConcurrent(t *testing.T) {
	var c compress.Codec
	var wait sync.WaitGroup
	text := jsonBytes(200_000)
	for g := range 8 {
		wait.Go(func() {
			for i := range 15 {
				m := methods[(g+i)%2]
				body := text[:1000+7000*(i%10)*(g%3+1)]
				packed, ok := c.Append(nil, body, m)
				if !ok {
					t.Errorf("%d bytes are not compressed by %s", len(body), m)
					return
				}
				if out, err := c.Inflate(nil, packed, messageLimit, both); err != nil || !bytes.Equal(out, body) {
					t.Errorf("%s: %d bytes, %v", m, len(out), err)
				}
				if _, err := c.Inflate(nil, packed[:len(packed)-3], messageLimit, both); !errors.Is(err, compress.ErrBadData) {
					t.Errorf("%s: %v", m, err)
				}
				code := strings.Repeat(string(body[i:i+20]), 5)
				stuffed, ok := c.AppendCode(nil, code, m)
				if back, err := c.InflateCode(nil, stuffed, compress.MaxCode, both); !ok || err != nil || string(back) != code {
					t.Errorf("%s: %q, %v", m, back, err)
				}
			}
		})
	}
	wait.Wait()
}

// TestLevels compresses at every level, and one beyond them: what takes longer isn't larger, but
// for a few bytes.
func TestLevels(t *testing.T) {
	body := jsonBytes(64 << 10)
	for _, m := range []compress.Method{compress.Flate, compress.Zstd} {
		last := len(body)
		for _, l := range []compress.Level{compress.Fastest, compress.Balanced, compress.Smallest, 77} {
			c := compress.New(l)
			out, ok := c.Append(nil, body, m)
			if !ok || len(out) > last+last/50 {
				t.Errorf("%v at level %d: %d bytes, %v; at the one before %d", m, l, len(out), ok, last)
			}
			last = len(out)
			got, err := c.Inflate(nil, out, len(body), compress.Set(0).With(m))
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%v at level %d: %v", m, l, err)
			}
		}
	}
}
