// Package paper makes what is printed: a page for each tape, to lie beside it in a safe, and labels with bar codes. Both are made
// from plain values, here and without any other program, and hold nothing that is secret.
//
// A Page becomes HTML by WriteHTML, which shows any name, or PDF by WritePDF, which uses the fonts that every viewer has and so
// escapes what is not Latin-1. Labels are PDF only: their measures must hold.
package paper
