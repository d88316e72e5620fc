// Package manual turns what tapefs says of itself into manual pages and Markdown: the command line's own model, and the
// comments of the configuration's template. There is no second text that could fall behind.
//
// A [Page] is a manual page in the man(7) macros, which groff and mandoc both read. [Commands] makes one for the program
// and one for each of its commands; [ParseTemplate] reads the configuration's template, from which come tapefs.yaml(5) and
// docs/configuration.md.
//
// The package knows kong and text. It imports nothing of ours.
package manual
