package paper

import (
	"fmt"
	"strings"
)

// The bar code of LTO cartridges is Code 39 (ISO/IEC 16388, USS-39) without a check digit: the barcode between start and stop
// characters, of which nothing is told. A character is five bars and four spaces, of which three are wide, then a narrow space.

// code39Wide has the wide elements of the characters that a label may have, as bits from the first bar (256) to the last one (1).
var code39Wide = map[byte]int{
	'0': 0b000110100, '1': 0b100100001, '2': 0b001100001, '3': 0b101100000, '4': 0b000110001,
	'5': 0b100110000, '6': 0b001110000, '7': 0b000100101, '8': 0b100100100, '9': 0b001100100,
	'A': 0b100001001, 'B': 0b001001001, 'C': 0b101001000, 'D': 0b000011001, 'E': 0b100011000,
	'F': 0b001011000, 'G': 0b000001101, 'H': 0b100001100, 'I': 0b001001100, 'J': 0b000011100,
	'K': 0b100000011, 'L': 0b001000011, 'M': 0b101000010, 'N': 0b000010011, 'O': 0b100010010,
	'P': 0b001010010, 'Q': 0b000000111, 'R': 0b100000110, 'S': 0b001000110, 'T': 0b000010110,
	'U': 0b110000001, 'V': 0b011000001, 'W': 0b111000000, 'X': 0b010010001, 'Y': 0b110010000,
	'Z': 0b011010000, startStop: 0b010010100,
}

// startStop is what readers call *.
const startStop = '*'

// elements are in one character.
const elements = 9

// Code39 returns the widths of bars and spaces in turn, beginning and ending with a bar, for text between start and stop characters.
// narrow is the width of a narrow one in any unit, ratio how many times wider a wide one is.
func Code39(text string, narrow, ratio float64) ([]float64, error) {
	if strings.IndexByte(text, startStop) >= 0 {
		return nil, fmt.Errorf("%q cannot be a bar code: it has a *", text)
	}
	var widths []float64
	for _, c := range []byte(string(startStop) + text + string(startStop)) {
		wide, ok := code39Wide[c]
		if !ok {
			return nil, fmt.Errorf("%q cannot be a bar code: %q is none of A to Z and 0 to 9", text, c)
		}
		if len(widths) > 0 {
			widths = append(widths, narrow)
		}
		for bit := 1 << (elements - 1); bit > 0; bit >>= 1 {
			width := narrow
			if wide&bit != 0 {
				width = narrow * ratio
			}
			widths = append(widths, width)
		}
	}
	return widths, nil
}
