// Command tapefs keeps files on LTFS tapes and shows them in a directory.
package main

func main() {}
