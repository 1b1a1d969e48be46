package main

import (
	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/service"
)

// order is what a cook is asked for, and meal what comes of it.
type (
	order struct {
		Table int
		Dish  string
	}
	meal struct {
		Dish string
		Cook string // the instance
	}
)

// cook takes orders. One of all instances gets each.
func cook(svc *service.Service) error {
	return svc.QueueBind("cook").To(func(o *order) (*meal, error) {
		if o.Dish == "" {
			return nil, flyrpc.Errorf(flyrpc.BadRequest, "table %d has ordered nothing", o.Table)
		}
		return &meal{"hot " + o.Dish, svc.ID()}, nil
	})
}
