package json

import (
	"errors"
	"io"

	jsoniter "github.com/json-iterator/go"
)

// The only file that knows json-iterator. The fastest of its configurations cuts
// floating-point numbers; this one doesn't.

// appendFast has json-iterator write behind dst. Its stream goes back to its
// pool with the buffer it came with, never with dst.
func appendFast(dst []byte, v any) ([]byte, error) {
	api := jsoniter.ConfigCompatibleWithStandardLibrary
	stream := api.BorrowStream(nil)
	own := stream.Buffer()
	stream.SetBuffer(dst)
	stream.WriteVal(v)
	out, err := stream.Buffer(), stream.Error
	stream.SetBuffer(own)
	api.ReturnStream(stream)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// decodeFast has json-iterator read data that scan has found valid. The iterator
// goes back to its pool without data, and not at all after an error: it may have
// stopped halfway through recording a value.
func decodeFast(data []byte, v any) error {
	api := jsoniter.ConfigCompatibleWithStandardLibrary
	iter := api.BorrowIterator(data)
	iter.ReadVal(v)
	if err := iter.Error; err != nil && err != io.EOF {
		return err
	}
	// A number in a form that the type doesn't take can be read in part.
	iter.WhatIsNext()
	if iter.Error != io.EOF {
		return errors.New("the value is of another type")
	}
	iter.ResetBytes(nil)
	api.ReturnIterator(iter)
	return nil
}
