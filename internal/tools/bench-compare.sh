#!/bin/sh
# Compares the benchmarks of the package in this folder, as the working tree is, with those of the
# revision REV: runs both that match BENCH in turns, COUNT times for BENCHTIME each, and prints what
# BENCHSTAT makes of it. REV is built in a worktree of its own, which is removed in the end.
set -eu

fail() {
	echo "bench-compare: $*" >&2
	exit 1
}

[ -n "${REV:-}" ] || fail "REV is missing: say which commit, branch or tag to compare the working tree with"
case $REV in
*-dirty) fail "REV $REV is a tree with changes that are not committed: commit them, or name a commit" ;;
esac
commit=$(git rev-parse --verify --quiet --end-of-options "$REV^{commit}") ||
	fail "REV $REV is no commit, branch or tag of this repository"
case ${COUNT:=10} in
*[!0-9]* | 0*) fail "COUNT $COUNT is no number of runs: 6 or more tell something" ;;
esac

dir=$(mktemp -d)
cleanup() {
	git worktree remove --force "$dir/rev" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# build DIR NAME builds the test binary of the package in DIR.
build() {
	GOWORK=off "${GO:-go}" -C "$1" test -c -o "$dir/$2.test" . || fail "the tests of $2 don't build"
	[ -x "$dir/$2.test" ] || fail "$2 has no tests"
}

# run DIR NAME runs the benchmarks of NAME once, in DIR.
run() {
	(cd "$1" && exec "$dir/$2.test" -test.run '^$' -test.bench "${BENCH:-.}" \
		-test.benchtime "${BENCHTIME:-1s}" -test.benchmem) >"$dir/out" </dev/null || {
		cat "$dir/out" >&2
		fail "the benchmarks of $2 fail"
	}
	grep -q '^Benchmark' "$dir/out" || fail "$2 has no benchmark that matches ${BENCH:-.}"
	cat "$dir/out" >>"$dir/$2.txt"
}

old=$(git rev-parse --short "$commit")
git worktree add --quiet --detach "$dir/rev" "$commit"
build "$dir/rev" "$old"
build . tree
i=1
while [ "$i" -le "$COUNT" ]; do
	echo "run $i of $COUNT" >&2
	run "$dir/rev" "$old"
	run . tree
	i=$((i + 1))
done
"${BENCHSTAT:-benchstat}" "$old=$dir/$old.txt" "tree=$dir/tree.txt"
