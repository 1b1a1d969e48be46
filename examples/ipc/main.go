// Command ipc speaks with a process that it has started itself, over that one's standard input and output,
// and with the same process over a Unix socket. Both are good for plug-ins: no port, no certificate.
//
// The plug-in is this program again. It needs a Unix system.
package main

import (
	"context"
	"log"
	"os"
	"time"
)

// inPlugin is the environment variable that makes this program the plug-in. It is the path of its socket.
const inPlugin = "FLYRPC_EXAMPLE_PLUGIN"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	run := runHost
	if os.Getenv(inPlugin) != "" {
		run = runPlugin
	}
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
