package doccheck

import (
	"fmt"
	"strings"
)

// Block is a fenced block of a document.
type Block struct {
	File string // the document
	Line int    // of the first line of Text
	Lang string // what stands behind the fence, go say
	Text string
}

// fence begins and ends a block, at the start of a line.
const fence = "```"

// Blocks returns the fenced blocks of a document. The error names the line of a block that
// doesn't end.
func Blocks(file, markdown string) ([]Block, error) {
	var blocks []Block
	var open *Block
	n := 0
	for line := range strings.Lines(markdown) {
		n++
		lang, fenced := strings.CutPrefix(line, fence)
		switch {
		case open == nil && fenced:
			open = &Block{File: file, Line: n + 1, Lang: strings.TrimSpace(lang)}
		case fenced:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += line
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block that begins here has no end", file, open.Line-1)
	}
	return blocks, nil
}

// Program is a whole file of Go and what the document says it prints.
type Program struct {
	Block
	Output Block
}

// Programs returns the whole files that a block of text follows.
func Programs(blocks []Block) []Program {
	var programs []Program
	for i := 1; i < len(blocks); i++ {
		if b := blocks[i-1]; isGo(b) && isFile(b) && blocks[i].Lang == "text" {
			programs = append(programs, Program{b, blocks[i]})
		}
	}
	return programs
}

func isGo(b Block) bool { return b.Lang == "go" }
