package lto

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/hardware.md shows this table: when one of them changes, so has the other.
func TestHardwarePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/hardware.md")
	if err != nil {
		t.Fatal(err)
	}
	table := "| medium | labels end with | write-once | density code | holds | MB/s | read by drives of | written by drives of |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
	for _, f := range Formats() {
		speed, worm := fmt.Sprintf("up to %d", f.Fastest), f.WORM
		if f.Slowest > 0 {
			speed = fmt.Sprintf("%d to %d", f.Slowest, f.Fastest)
		}
		if worm == "" {
			worm = "-"
		}
		holds := fmt.Sprintf("%g TB", float64(f.Capacity)/1e12)
		table += fmt.Sprintf("| %s | %s | %s | 0x%x | %s | %s | %s | %s |\n", f.Name, f.Suffix, worm, f.Density, holds, speed, f.Readers(false), f.Readers(true))
	}
	if !strings.Contains(string(page), table) {
		t.Errorf("docs/hardware.md does not have the table as it is here:\n%s", table)
	}
}
