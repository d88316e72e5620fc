// Package ui is what a person at a terminal sees, and what a program gets instead: tables, bars, JSON, names that are safe to print, and
// suggestions for words that are not known.
//
// Names come from other people's servers and from tapes, and may hold what a terminal takes for a command. So commands write to a
// PrintableWriter, which escapes such characters, and errors and bars pass EscapeControls. Only what goes to a program of the user's, as
// find --print0 does, is written raw (RawOutput).
//
// The package imports nothing of tapefs, and nothing in it decides what is printed.
package ui
