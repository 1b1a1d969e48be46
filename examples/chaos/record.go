package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// kind is what the client asks for.
type kind string

const (
	call   kind = "call"   // one that must not be executed twice
	hasty  kind = "hasty"  // one that has hardly any time
	again  kind = "again"  // one that may be executed again, as it is idempotent
	tell   kind = "tell"   // a one-way message
	watch  kind = "watch"  // a stream of items to the client
	resume kind = "resume" // one that goes on where it has stopped
	upload kind = "upload" // a stream of items to the server

	stranger kind = "stranger" // nothing that is asked for: what has come by a connection that was not introduced
)

// kinds returns all that is asked for.
func kinds() []kind { return []kind{call, hasty, again, tell, watch, resume, upload} }

// record is that a server has executed something: a line of its file. Exec names the execution: server, life and number.
type record struct {
	Exec string
	Kind kind
	ID   uint64
	Sum  uint32 // of the bytes that came with it
}

// lineSize is the size of a record's line in bytes. It divides a page of memory: the kernel may cut a write short between two pages when
// it kills the process.
const lineSize = 64

// recorder writes the records of one life of a server. A line that is written stays, however the process ends.
type recorder struct {
	file *os.File
	life string
	n    atomic.Uint64
}

// openRecorder opens the file of a server, which may have lines of former lives.
func openRecorder(path, life string) (*recorder, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &recorder{file: file, life: life}, nil
}

// write is the execution: with the line it has happened. Handlers may call it concurrently, since a line is one write.
func (r *recorder) write(k kind, id uint64, sum uint32) (exec string, err error) {
	rec := record{fmt.Sprintf("%s/%d", r.life, r.n.Add(1)), k, id, sum}
	_, err = fmt.Fprintf(r.file, "%-*s\n", lineSize-1, fmt.Sprintf("%s %s %d %d", rec.Exec, rec.Kind, rec.ID, rec.Sum))
	return rec.Exec, err
}

// records has all that servers have executed, by the IDs of what was asked.
type records map[uint64][]record

// read adds the records of a server's file. A line that is cut short is an error: nothing may cut one.
func (all records) read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if err != nil && line == "" {
			return nil
		}
		var r record
		if _, err := fmt.Sscanf(line, "%s %s %d %d", &r.Exec, &r.Kind, &r.ID, &r.Sum); err != nil || len(line) != lineSize {
			return fmt.Errorf("%s: expected a record, got %q: %v", path, strings.TrimSpace(line), err)
		}
		all[r.ID] = append(all[r.ID], r)
	}
}
