package ui

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FileTime is the modification time of a file as programs get it. File systems keep years that RFC 3339, and with it the JSON form of
// time.Time, has no room for.
type FileTime struct {
	Sec  int64 // since 1970, UTC
	Nsec int32
}

// Ends of the years 0 to 9999, which RFC 3339 can write, in seconds since 1970.
const (
	firstSecond = -62_167_219_200
	afterLast   = 253_402_300_800
)

const beyondYears = "unix:"

// Time returns the moment as the standard library has it.
func (t FileTime) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// String returns the time as RFC 3339 has it, in UTC; beyond its years "unix:" and the seconds since 1970.
func (t FileTime) String() string {
	if t.Sec < firstSecond || t.Sec >= afterLast {
		return fmt.Sprintf("%s%d", beyondYears, t.Sec)
	}
	return t.Time().Format(time.RFC3339Nano)
}

// MarshalJSON writes what String returns.
func (t FileTime) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *FileTime) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if digits, ok := strings.CutPrefix(s, beyondYears); ok {
		sec, err := strconv.ParseInt(digits, 10, 64)
		*t = FileTime{Sec: sec}
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return err
	}
	*t = FileTime{Sec: at.Unix(), Nsec: int32(at.Nanosecond())}
	return nil
}
