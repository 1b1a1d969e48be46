#!/usr/bin/env bash
# Calls one handler in every way there is, and prints each command before what it prints.
# It needs Go, curl, nc (OpenBSD's), wsdump (Debian's python3-websocket) and xxd. The port may be given: 7000 if not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
port=${1:-7000}

for tool in go curl nc wsdump xxd; do
	if ! command -v "$tool" >/dev/null; then
		echo "$tool is missing: install curl, netcat-openbsd, python3-websocket and xxd" >&2
		exit 1
	fi
done

bin=$(mktemp -d)
server=
trap 'if [[ -n $server ]]; then kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true; fi; rm -rf "$bin"' EXIT
go build -o "$bin/everyway" .
PATH=$bin:$PATH
everyway "localhost:$port" &
server=$!
for _ in {1..100}; do
	if curl -s -o "$bin/page" "localhost:$port/"; then break; fi
	kill -0 "$server" # it may have failed, and has said why
	sleep 0.05
done

# run prints a command, with the port that the README shows, and runs it.
run() {
	echo
	echo "\$ ${1//$port/7000}"
	bash -c "$1"
}

run "everyway call tcp://localhost:$port"
run "everyway call ws://localhost:$port"
run "everyway call http://localhost:$port"
run "everyway call udp://localhost:$port"
run "curl -s localhost:$port/user/get -d '{\"ID\":7}'"
run "curl -s localhost:$port/user/get -d '{}'"
run "printf '{\"action\":\"/user/get\",\"key\":\"1\",\"body\":{\"ID\":7}}\\n' | nc -N localhost $port"
run "wsdump --raw --eof-wait 1 --text '{\"action\":\"/user/get\",\"key\":\"1\",\"body\":{\"ID\":7}}' ws://localhost:$port </dev/null"
run "printf '\\x40\\x00\\x01/user/get\\x00\\x08{\"ID\":7}' | nc -w 1 localhost $port | xxd"
