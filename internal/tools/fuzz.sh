#!/bin/sh
# Runs every fuzz test below this folder for FUZZTIME, one after another, and
# stops at the first that fails.
set -eu

tests=$(grep -rEo --include='*_test.go' --exclude-dir=.git --exclude-dir=testdata \
	'^func Fuzz[[:alnum:]_]+\([[:alnum:]_]+ \*testing\.F\)' . | sort || true)
if [ -z "$tests" ]; then
	echo "no fuzz tests"
	exit 0
fi

printf '%s\n' "$tests" | while IFS=: read -r file func; do
	package=$(dirname "$file")
	name=${func#func }
	name=${name%%(*}
	echo "$package $name"
	"${GO:-go}" test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-20s}" "$package" </dev/null
done
