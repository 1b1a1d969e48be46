package bustest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-flyrpc/flyrpc/service"
)

func checkOrder(k *kit) {
	s := k.sink()
	k.subscribe(k.b, k.subject("a"), "", s.take)
	const n = 2_000
	for i := range n {
		k.publish(k.a, k.subject("a"), strconv.Itoa(i))
	}
	for i, text := range s.await(n) {
		if text != strconv.Itoa(i) {
			k.Fatalf("message %d is %q", i, text)
		}
	}
}

func checkOwned(k *kit) {
	one, two := k.sink(), k.sink()
	k.subscribe(k.a, k.subject("a"), "", func(m *service.Message) {
		clear(m.Data)
		one.take(m)
	})
	k.subscribe(k.a, k.subject("a"), "", two.take)
	data := []byte("as it was")
	if err := k.a.Publish(&service.Message{Subject: k.subject("a"), Reply: k.subject("b"), Data: data}); err != nil {
		k.Fatal(err)
	}
	clear(data)
	one.await(1)
	if got := two.await(1)[0]; got != "as it was" {
		k.Errorf("the data is %q: it was changed by the publisher, or by another handler", got)
	}
	if m := two.first(); m.Subject != k.subject("a") || m.Reply != k.subject("b") || m.NoResponders {
		k.Errorf("the message has the subject %q, the reply subject %q, NoResponders %v", m.Subject, m.Reply, m.NoResponders)
	}
}

func checkWildcards(k *kit) {
	for _, pattern := range []string{"*.b", "a.*", "a.>", ">", "a.b", "*.*.c", "a.*.c", "b.>"} {
		s := k.sink()
		k.subscribe(k.b, k.subject(pattern), "", s.take)
		subjects := []string{"a.b", "a.c", "a", "a.b.c", "b.a", "a.b.c.d"}
		var want []string
		for _, subject := range subjects {
			k.publish(k.a, k.subject(subject), subject)
			if service.MatchSubject(pattern, subject) {
				want = append(want, subject)
			}
		}
		k.publish(k.a, k.subject("last.one"), "")
		s.await(len(want))
		time.Sleep(k.Quiet / 10)
		got := slices.DeleteFunc(s.texts(), func(text string) bool { return text == "" })
		if !slices.Equal(got, want) {
			k.Errorf("%q was given %v, not %v", pattern, got, want)
		}
	}
}

func checkEverybody(k *kit) {
	var sinks []*sink
	for _, b := range []service.Bus{k.a, k.b, k.a} {
		s := k.sink()
		sinks = append(sinks, s)
		k.subscribe(b, k.subject("a"), "", s.take)
	}
	k.publish(k.a, k.subject("a"), "x")
	k.publish(k.b, k.subject("a"), "x")
	for _, s := range sinks {
		s.await(2)
	}
}

func checkQueue(k *kit) {
	all, other := k.sink(), k.sink()
	members := []*sink{k.sink(), k.sink(), k.sink()}
	k.subscribe(k.a, k.subject("a"), "", all.take)
	k.subscribe(k.b, k.subject("a"), "other", other.take)
	for i, m := range members {
		k.subscribe([]service.Bus{k.a, k.b}[i%2], k.subject("a"), "workers", m.take)
	}
	const n = 300
	for i := range n {
		k.publish(k.a, k.subject("a"), strconv.Itoa(i))
	}
	all.await(n)
	other.await(n)
	count := func() (total int) {
		for _, m := range members {
			total += m.count()
		}
		return total
	}
	k.until("message to one of each queue", func() bool { return count() >= n })
	time.Sleep(k.Quiet)
	if got := count(); got != n {
		k.Errorf("the members of a queue were given %d messages, not %d", got, n)
	}
}

func checkQueueOfPatterns(k *kit) {
	one, two := k.sink(), k.sink()
	k.subscribe(k.a, k.subject("a.*"), "workers", one.take)
	k.subscribe(k.a, k.subject("a.b"), "workers", two.take)
	const n = 50
	for range n {
		k.publish(k.b, k.subject("a.b"), "x")
	}
	k.until("messages", func() bool { return one.count()+two.count() >= n })
	time.Sleep(k.Quiet)
	if got := one.count() + two.count(); got != n {
		k.Errorf("%d deliveries of %d messages: members of a queue with different patterns share too", got, n)
	}
}

func checkNoResponders(k *kit) {
	s := k.sink()
	k.subscribe(k.a, k.subject("reply.*"), "", s.take)
	start := time.Now()
	if err := k.a.Publish(&service.Message{Subject: k.subject("nobody"), Reply: k.subject("reply.1"), Data: []byte("x")}); err != nil {
		k.Fatal(err)
	}
	s.await(1)
	if m := s.first(); !m.NoResponders || m.Subject != k.subject("reply.1") || len(m.Data) > 0 {
		k.Errorf("the notice is %+v", m)
	}
	if took := time.Since(start); took > 2*time.Second {
		k.Errorf("it took %v to say that nobody is there", took)
	}
	k.publish(k.a, k.subject("nobody"), "without a reply subject") // nobody is told
	time.Sleep(k.Quiet)
	if n := s.count(); n != 1 {
		k.Errorf("%d notices", n)
	}
}

func checkResponders(k *kit) {
	s := k.sink()
	k.subscribe(k.a, k.subject("reply.*"), "", s.take)
	sub := k.subscribe(k.b, k.subject("echo"), "q", func(m *service.Message) {
		if err := k.b.Publish(&service.Message{Subject: m.Reply, Data: m.Data}); err != nil {
			k.Error(err)
		}
	})
	for i := range 50 {
		if err := k.a.Publish(&service.Message{Subject: k.subject("echo"), Reply: k.subject(fmt.Sprintf("reply.%d", i)), Data: []byte("x")}); err != nil {
			k.Fatal(err)
		}
	}
	s.await(50)
	for _, m := range s.got {
		if m.NoResponders || string(m.Data) != "x" {
			k.Fatalf("an answer is %+v", m)
		}
	}
	if err := sub.Close(); err != nil {
		k.Fatal(err)
	}
	k.flush(k.b)
	if err := k.a.Publish(&service.Message{Subject: k.subject("echo"), Reply: k.subject("reply.gone")}); err != nil {
		k.Fatal(err)
	}
	s.await(51)
	if m := s.got[50]; !m.NoResponders {
		k.Errorf("after the last subscription was closed came %+v", m)
	}
}

func checkMaxPayload(k *kit) {
	s := k.sink()
	k.subscribe(k.b, k.subject("a"), "", s.take)
	most := k.a.MaxPayload()
	if most < 1<<10 {
		k.Fatalf("MaxPayload is %d", most)
	}
	data := bytes.Repeat([]byte{0, 1, 0xff, '\r', '\n'}, most/5+1)
	if err := k.a.Publish(&service.Message{Subject: k.subject("a"), Data: data[:most+1]}); !errors.Is(err, service.ErrTooLarge) {
		k.Errorf("a byte too many: %v", err)
	}
	if err := k.a.Publish(&service.Message{Subject: k.subject("a"), Data: data[:most]}); err != nil {
		k.Fatal(err)
	}
	k.publish(k.a, k.subject("a"), "")
	if got := s.await(2); got[0] != string(data[:most]) || got[1] != "" {
		k.Errorf("came %d and %d bytes", len(got[0]), len(got[1]))
	}
}

func checkBadSubjects(k *kit) {
	for _, subject := range []string{"", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nb", "a.*", ">", "a*"} {
		if err := k.a.Publish(&service.Message{Subject: subject}); !errors.Is(err, service.ErrBadSubject) {
			k.Errorf("Publish to %q: %v", subject, err)
		}
	}
	for _, subject := range []string{"", "a.>.b", "a*", "a..*", "a b"} {
		s, err := k.a.Subscribe(service.Subscribe{Subject: subject, Handler: func(*service.Message) {}})
		if !errors.Is(err, service.ErrBadSubject) {
			k.Errorf("Subscribe to %q: %v, %v", subject, s, err)
		}
	}
	if err := k.a.Publish(&service.Message{Subject: k.subject("a"), Reply: "b.*"}); !errors.Is(err, service.ErrBadSubject) {
		k.Errorf("a reply subject with a wildcard: %v", err)
	}
}
