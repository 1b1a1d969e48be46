package layout

// Rule says what one package imports of this module. "." is the root package,
// "x/..." is x and what is below it, "..." is everything.
type Rule struct {
	Imports []string
	Tests   []string // what its tests import besides
}

// Packages returns the table of every package of the repository. A key may end
// in /... for packages that share a rule; an exact key goes before it.
func Packages() map[string]Rule {
	return map[string]Rule{
		".": {
			Imports: []string{
				"serializer", "serializer/json", "serializer/msgpack", "transport", "transport/websocket",
				"internal/adapt", "internal/balance", "internal/command", "internal/compress", "internal/flow", "internal/pathtree", "internal/pool",
			},
			Tests: []string{".", "flyrpctest", "internal/memorytest", "internal/netfault", "internal/wiretest", "serializer/...", "transport/..."},
		},

		"serializer":                  {Tests: []string{"internal/memorytest", "serializer/..."}},
		"serializer/internal/errtext": {},
		"serializer/internal/nesting": {},
		"serializer/internal/plan":    {Tests: []string{"serializer/..."}},
		"serializer/json":             {Imports: []string{"serializer", "serializer/internal/..."}, Tests: []string{"serializer/..."}},
		"serializer/msgpack":          {Imports: []string{"serializer", "serializer/internal/..."}, Tests: []string{"serializer/..."}},
		"serializer/protobuf":         {Imports: []string{"serializer", "serializer/internal/..."}, Tests: []string{"serializer/..."}},
		"serializer/serializertest":   {Imports: []string{"serializer"}, Tests: []string{"serializer/..."}},

		"transport":               {Tests: []string{"internal/memorytest", "transport/..."}},
		"transport/websocket":     {Imports: []string{"transport"}, Tests: []string{"transport/..."}},
		"transport/transporttest": {Imports: []string{"transport"}, Tests: []string{"transport/..."}},

		"command":    {Imports: []string{".", "internal/command", "serializer", "transport", "transport/websocket"}, Tests: []string{"serializer/..."}},
		"flyrpctest": {Imports: []string{".", "transport"}, Tests: []string{".", "flyrpctest", "serializer/...", "transport"}},
		"middleware": {Imports: []string{"."}, Tests: []string{"transport"}},

		"service":         {Imports: []string{".", "internal/flow", "serializer", "serializer/json", "serializer/msgpack"}, Tests: []string{".", "service/..."}},
		"service/membus":  {Imports: []string{"service"}, Tests: []string{"service/..."}},
		"service/bustest": {Imports: []string{"service"}, Tests: []string{"service/..."}},

		"internal/adapt":      {},
		"internal/command":    {Imports: []string{"serializer"}, Tests: []string{"serializer/..."}},
		"internal/balance":    {Tests: []string{"internal/balance", "internal/memorytest"}},
		"internal/compress":   {Tests: []string{"internal/compress", "internal/memorytest"}},
		"internal/covercheck": {},
		"internal/doccheck":   {},
		"internal/flow":       {},
		"internal/layout":     {},
		"internal/memorytest": {},
		"internal/netfault":   {},
		"internal/pathtree":   {Tests: []string{"internal/memorytest"}},
		"internal/pool":       {},

		"internal/wiretest":     {},
		"internal/wiretest/cmd": {Imports: []string{"internal/wiretest"}, Tests: []string{".", "serializer/..."}},

		"service/natsbus": {Imports: []string{"service"}, Tests: []string{".", "internal/netfault", "serializer/msgpack", "service/bustest"}},

		"examples/...": {Imports: []string{"..."}},

		"benchmarks":                          {Imports: []string{"benchmarks/internal/..."}},
		"benchmarks/internal/echopb":          {},
		"benchmarks/internal/echopb/generate": {},
		"benchmarks/internal/growth":          {Imports: []string{".", "serializer/...", "benchmarks/internal/measure", "benchmarks/internal/peers"}},
		"benchmarks/internal/measure":         {Imports: []string{"benchmarks/internal/peers"}},
		"benchmarks/internal/peers":           {Imports: []string{".", "serializer/...", "benchmarks/internal/echopb"}},
	}
}

// Library is a package of another module, with the one place it belongs in.
type Library struct {
	Path    string   // the import path of the module
	In      []string // the packages whose code imports it
	Tests   []string // the packages whose tests import it besides
	OneFile bool     // a single file of the code imports it
	Used    bool     // it must be imported by code, not by tests alone
}

// Libraries returns the table of every third-party module that is imported.
func Libraries() []Library {
	return []Library{
		{Path: "github.com/gorilla/websocket", In: []string{"transport/websocket"}, Tests: []string{"..."}, Used: true},
		{Path: "github.com/cenkalti/backoff/v5", In: []string{"."}, OneFile: true, Used: true},
		{Path: "github.com/json-iterator/go", In: []string{"serializer/json"}, OneFile: true, Used: true},
		{Path: "github.com/klauspost/compress", In: []string{"internal/compress"}, Used: true},
		{Path: "github.com/vmihailenco/msgpack/v5", In: []string{"serializer/msgpack"}, Tests: []string{"serializer/..."}, Used: true},
		{Path: "google.golang.org/protobuf", In: []string{"serializer/protobuf", "benchmarks/internal/..."}, Tests: []string{"..."}},
		{Path: "github.com/sony/gobreaker/v2", In: []string{"middleware"}, OneFile: true, Used: true},
		{Path: "golang.org/x/time", In: []string{"middleware"}, OneFile: true, Used: true},
		{Path: "go.uber.org/goleak", Tests: []string{"..."}},
		{Path: "github.com/nats-io/jwt/v2", Tests: []string{"service/natsbus"}},
		{Path: "github.com/nats-io/nkeys", Tests: []string{"service/natsbus"}},

		// What benchmarks compares with, and draws with.
		{Path: "connectrpc.com/connect", In: []string{"benchmarks/internal/peers"}, OneFile: true, Used: true},
		{Path: "github.com/bufbuild/protocompile", In: []string{"benchmarks/internal/echopb/generate"}, OneFile: true, Used: true},
		{Path: "github.com/containerd/ttrpc", In: []string{"benchmarks/internal/peers"}, OneFile: true, Used: true},
		{Path: "github.com/nats-io/nats-server/v2", In: []string{"benchmarks/internal/peers", "service/natsbus"}, Used: true},
		{Path: "github.com/nats-io/nats.go", In: []string{"benchmarks/internal/peers", "service/natsbus"}, Used: true},
		{Path: "gonum.org/v1/plot", In: []string{"benchmarks"}, OneFile: true, Used: true},
		{Path: "google.golang.org/grpc", In: []string{"benchmarks/internal/peers"}, OneFile: true, Used: true},
		{Path: "storj.io/drpc", In: []string{"benchmarks/internal/peers"}, OneFile: true, Used: true},
	}
}

// Wall is a border that holds whatever the table of packages says.
type Wall struct {
	From string
	Only []string // the packages From may import at all; nil for any
	Not  []string // the packages From may not import
	Why  string
}

// Walls returns the borders of the design.
func Walls() []Wall {
	return []Wall{
		{From: ".", Not: []string{"middleware/...", "service/...", "gateway/..."}, Why: "the root is what they build on"},
		{From: "internal/...", Not: []string{"."}, Why: "internal packages never know the root"},
		{From: "middleware/...", Only: []string{".", "middleware/..."}, Why: "middleware knows only the root"},
		{From: "serializer/...", Only: []string{"serializer/..."}, Why: "a serializer knows no packets"},
		{From: "service/membus", Only: []string{"service"}, Why: "a bus knows no packets"},
		{From: "transport/...", Only: []string{"transport/..."}, Why: "a transport knows no packets"},
	}
}
