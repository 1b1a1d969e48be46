package compress

import "strings"

// Method is a compression method. The zero Method is None.
type Method uint8

// The compression methods.
const (
	None  Method = iota // not compressed
	Flate               // raw deflate data, RFC 1951
	Zstd                // one zstd frame, RFC 8878
)

// String returns the name that hello uses, "flate" or "zstd", or "none".
func (m Method) String() string {
	switch m {
	case Flate:
		return "flate"
	case Zstd:
		return "zstd"
	}
	return "none"
}

// ParseMethod returns the method that hello calls name. ok is false, and the method None,
// for every other name, "none" too.
func ParseMethod(name string) (m Method, ok bool) {
	switch name {
	case "flate":
		return Flate, true
	case "zstd":
		return Zstd, true
	}
	return None, false
}

// Set is a set of methods. The zero Set is empty. None is in no set.
type Set uint8

// Has reports whether m is in the set.
func (s Set) Has(m Method) bool {
	return s&bit(m) != 0
}

// With returns the set with m in it. With(None) is the set itself.
func (s Set) With(m Method) Set {
	return s | bit(m)
}

// String lists the names of the methods, or says "no compression".
func (s Set) String() string {
	var names []string
	for _, m := range []Method{Zstd, Flate} {
		if s.Has(m) {
			names = append(names, m.String())
		}
	}
	if names == nil {
		return "no compression"
	}
	return strings.Join(names, " or ")
}

func bit(m Method) Set {
	if m != Flate && m != Zstd {
		return 0
	}
	return 1 << m
}
