// Package doccheck compiles the Go code that documents show.
//
// A block of Go that begins with a package clause is a whole file. Every other block is a
// fragment: declarations, or statements, which are put into a function. A fragment
//
//   - sees what the blocks before it in the same document declare outside functions, the latest
//     of each name;
//   - uses the packages that these import, and those that Known names, without importing them;
//   - finds, if it is statements, the variables of Scope, and may declare its own by the same names.
//
// So documents say nothing for doccheck's sake. A block of text that follows a whole file, as the next block, is what
// that program prints.
package doccheck
