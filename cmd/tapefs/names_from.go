package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxName bounds one line of a list of names, bytes: a path of Linux has 4096 at most.
const maxName = 1 << 20

// readNames reads a list of paths, each ended by a newline or by a NUL byte. Empty ones are left out. "-" is standard input.
func readNames(stdin io.Reader, file string, null bool) ([]string, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read names: %w", err)
		}
		defer f.Close()
		in = f
	}
	end := byte('\n')
	if null {
		end = 0
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxName)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, end); i >= 0 {
			return i + 1, data[:i], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	names := []string{}
	for lines.Scan() {
		if name := lines.Text(); name != "" {
			names = append(names, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read names from %s: %w", file, err)
	}
	return names, nil
}
