// Package layout holds the repository to its own rules: who imports whom, how
// long files and functions grow, what is documented, what state a package
// keeps. Each rule is a function from a parsed tree to a list of problems, and
// each problem says where it is and what to do. The tests of this package run
// every rule over the repository; they read the files in this process, so the
// go command knows to run them again when a file changes.
package layout

// Module is the import path of the repository's root package.
const Module = "github.com/go-flyrpc/flyrpc"
