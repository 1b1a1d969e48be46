package flyrpc

import (
	"fmt"
	"reflect"

	"github.com/go-flyrpc/flyrpc/internal/adapt"
)

// Registrar is a *Router, or what embeds one, as Server and Client do.
type Registrar interface {
	registrar() *Router
}

func (r *Router) registrar() *Router { return r }

// Handle does what r.OnMessage(path, h, opts...) does, and h is then called without
// reflection. The *Req is never nil; Req must be a type that a message may have. A
// nil *Reply is a nil message.
func Handle[Req, Reply any](r Registrar, path string, h func(*Context, *Req) (*Reply, error), opts ...RouteOption) {
	router := r.registrar()
	path = router.prefix + path
	o := newOrigin("Handle(%q, %T)", path, h)
	plan, err := checkTyped[Req](h)
	if err != nil {
		o.panicf("%v", err)
	}
	router.add(newRoute(o, path, opts, reflect.TypeOf(h), plan, func(ctx *Context) (any, error) {
		req := new(Req)
		if err := ctx.Decode(req); err != nil {
			return nil, err
		}
		reply, err := h(ctx, req)
		if err != nil || reply == nil {
			return nil, err
		}
		return reply, nil
	}))
}

// checkTyped says what is wrong with a function for Handle.
func checkTyped[Req any](h any) (*adapt.Plan, error) {
	plan, err := newPlan(reflect.ValueOf(h))
	if err != nil {
		return nil, err
	}
	if plan.Message != reflect.TypeFor[Req]() {
		return nil, fmt.Errorf("%s can be no message", reflect.TypeFor[Req]())
	}
	if plan.Yields {
		return nil, fmt.Errorf("%s can't be a pointer's reply: use OnMessage", plan.Reply)
	}
	return plan, nil
}
