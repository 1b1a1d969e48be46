package main

import "github.com/go-flyrpc/flyrpc/service"

// board shows what is announced. Every instance has bound the subject, so every one is told.
func board(svc *service.Service, name string, shown chan<- string) error {
	return svc.Bind("announce").To(func(text string) { shown <- name + ": " + text })
}
