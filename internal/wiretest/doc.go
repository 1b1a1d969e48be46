// Package wiretest plays the conformance scenarios of the FlyRPC wire protocol against
// any implementation of it.
//
// A Scenario says, step by step, which bytes one end of a connection sends and which it
// expects; testdata/wire/scenarios/README.md explains the files. Load reads them, and Play is that
// end. It knows packets, hello, learned codes and credit from the protocol's document alone: it
// shares no code with what it judges.
package wiretest
