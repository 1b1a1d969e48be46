// Package natsbus is a service.Bus that NATS carries. New takes an existing *nats.Conn, Connect makes one, and Embedded
// runs a nats-server inside the process, so that nothing has to be installed. With JetStream a Bus keeps durable messages, and NATS's
// own tools list the services on it.
//
// docs/nats.md says what is promised and what is not.
package natsbus
