package main

import (
	"io"
	"strings"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// page is what the archive's book repeats, and pages how often: 32 MiB, of which never more than some
// hundred KiB are in memory.
const (
	page  = "soup, fish, cake and coffee.... "
	pages = 1 << 20
)

// archive hands out books, of whatever size: they travel in chunks, no faster than they are read.
func archive(svc *service.Service) error {
	return svc.QueueBind("book").To(func(title string) (io.Reader, error) {
		if title != "recipes" {
			return nil, flyrpc.Errorf(flyrpc.NotFound, "there is no book %q", title)
		}
		return &book{left: pages}, nil
	})
}

// book is an io.Reader that writes itself.
type book struct {
	left int
	rest strings.Reader
}

func (b *book) Read(p []byte) (int, error) {
	if b.rest.Len() == 0 {
		if b.left == 0 {
			return 0, io.EOF
		}
		n := min(b.left, 1<<10)
		b.left -= n
		b.rest.Reset(strings.Repeat(page, n))
	}
	return b.rest.Read(p)
}
