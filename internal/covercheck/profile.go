package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// coverage counts the statements of one package.
type coverage struct {
	statements int
	covered    int
}

// percent returns how much is covered, 100 for a package without statements.
func (c coverage) percent() float64 {
	if c.statements == 0 {
		return 100
	}
	return 100 * float64(c.covered) / float64(c.statements)
}

// block is one line of a profile.
type block struct {
	position   string // file:line.column,line.column
	statements int
	covered    bool
}

// parse reads a cover profile and adds it up by import path. A block that is
// there twice counts once, covered if it is covered in either place.
func parse(in io.Reader) (map[string]coverage, error) {
	lines := bufio.NewScanner(in)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "mode: ") {
		return nil, errors.Join(errors.New("not a cover profile"), lines.Err())
	}
	blocks := make(map[string]block)
	for lines.Scan() {
		b, err := parseBlock(lines.Text())
		if err != nil {
			return nil, err
		}
		b.covered = b.covered || blocks[b.position].covered
		blocks[b.position] = b
	}
	return addUp(blocks), lines.Err()
}

// addUp counts the blocks of each package.
func addUp(blocks map[string]block) map[string]coverage {
	packages := make(map[string]coverage)
	for _, b := range blocks {
		file, _, _ := strings.Cut(b.position, ":")
		c := packages[path.Dir(file)]
		c.statements += b.statements
		if b.covered {
			c.covered += b.statements
		}
		packages[path.Dir(file)] = c
	}
	return packages
}

// parseBlock reads "file:line.column,line.column statements count".
func parseBlock(line string) (block, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return block{}, fmt.Errorf("not a line of a cover profile: %q", line)
	}
	statements, err1 := strconv.Atoi(fields[1])
	count, err2 := strconv.ParseUint(fields[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return block{}, fmt.Errorf("in %q: %w", line, err)
	}
	return block{position: fields[0], statements: statements, covered: count > 0}, nil
}
