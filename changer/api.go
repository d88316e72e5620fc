package changer

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Barcode is a cartridge's label, trimmed: "ABC001L8".
type Barcode string

func (b Barcode) Generation() int { panic("unwritten") } // LTO generation by the media suffix, 0 unknown
func (b Barcode) Cleaning() bool  { panic("unwritten") }
func (b Barcode) Serial() string  { panic("unwritten") } // 6 characters, for mkltfs -s

// Errors that callers branch on. They are wrapped with what was attempted.
var (
	ErrNotInLibrary   = errors.New("tape is not in the library")
	ErrNoDrive        = errors.New("no drive can take this tape")
	ErrWrongVolume    = errors.New("another volume than expected is in the drive")
	ErrNotFormatted   = errors.New("no LTFS volume on the tape")
	ErrNeedsCheck     = errors.New("LTFS volume needs ltfsck")
	ErrWriteProtected = errors.New("tape is write-protected")
	ErrReadOnly       = errors.New("volume mounted read-only")
	ErrNoMedium       = errors.New("no tape in the drive")
	ErrBusy           = errors.New("drive is in use by another program")
	ErrIncompatible   = errors.New("drive cannot use this tape")
	ErrLibraryOffline = errors.New("library is offline")
	ErrDoorOpen       = errors.New("mail slot is open")
	ErrNotBlank       = errors.New("tape is not blank")
	ErrUnknown        = errors.New("state of the tape is unknown")
	ErrSync           = errors.New("index was not proved to be on tape")
	ErrLibraryFull    = errors.New("no free slot")
)

// Error carries the hint that the command line prints.
type Error struct {
	Op, Hint string
	Err      error
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// ProgramError is a failed program.
type ProgramError struct {
	Args   []string
	Code   int      // exit code; -1: not started or killed
	Stderr []string // last lines
	Err    error
}

func (e *ProgramError) Error() string { panic("unwritten") }

// DriveConfig names one drive.
type DriveConfig struct {
	Serial  string
	Device  string // sg node for ltfs, mkltfs, ltfsck; "" finds it by serial in /dev/tape/by-id and /sys
	Tape    string // nst node for mt; "" likewise
	Element int    // data transfer element of the changer
}

// Config is the library section of the configuration.
type Config struct {
	Changer           string // device; "none" for a single drive without changer
	Drives            []DriveConfig
	RunDir            string // locks, mount points, logs of ltfs
	Programs          Programs
	LTFSOptions       []string // further -o options of ltfs
	EjectBeforeUnload bool
	MoveTimeout       time.Duration // 0: 10 min; at the limit we stop waiting, never kill
	ReadyTimeout      time.Duration // 0: 10 min from load to ready
	MountTimeout      time.Duration // 0: 60 min (recovery of an index may take long)
	UnmountTimeout    time.Duration // 0: 60 min
}

// Programs are paths or names in PATH; empty ones get their usual name.
type Programs struct{ Mtx, Mt, Mkltfs, Ltfs, Ltfsck, Lsscsi string }

// Library is one changer with its drives. Safe for concurrent use.
type Library struct{}

// Open checks the configuration; it moves nothing.
func Open(cfg Config, log *slog.Logger) (*Library, error) { panic("unwritten") }

// Inventory is one reading of mtx status.
type Inventory struct {
	Drives []DriveElement
	Slots  []Slot
}
type DriveElement struct {
	Number   int
	Serial   string // of the configured drive, "" when none is configured for it
	Full     bool
	Barcode  Barcode
	FromSlot int // 0 unknown
}
type Slot struct {
	Number       int
	ImportExport bool
	Full         bool
	Barcode      Barcode
}

func (inv *Inventory) FindSlot(b Barcode) (Slot, bool)          { panic("unwritten") }
func (inv *Inventory) FindDrive(b Barcode) (DriveElement, bool) { panic("unwritten") }

// Barcodes lists every cartridge, cleaning ones left out.
func (inv *Inventory) Barcodes() []Barcode { panic("unwritten") }

func (l *Library) Inventory(ctx context.Context) (*Inventory, error) { panic("unwritten") }

// Recover deals with what a died process left: ltfs processes on our devices are synced, unmounted
// and awaited, dead mounts taken away. Call it first; drives whose lease is held are left alone.
func (l *Library) Recover(ctx context.Context) error { panic("unwritten") }

// DriveState is what mt status and the lease say.
type DriveState struct {
	DriveConfig
	Holder  string // who holds the lease, "" free
	Status  MTStatus
	Barcode Barcode
	Mounted bool
}
type MTStatus struct {
	Online, BOT, WriteProtected, DoorOpen, EOD bool
	Density                                    string // "LTO-8"
	File, Block                                int64
}

func (l *Library) Drives(ctx context.Context) ([]DriveState, error) { panic("unwritten") }

// Request says what a lease is for.
type Request struct {
	Barcode Barcode             // the drive that holds it is preferred; "" any
	Drive   string              // only this serial
	Purpose string              // "archive", "read", "format": shown to others who wait
	Wait    func(holder string) // called once when it has to wait; may be nil
}

// Lease waits for a drive. It holds an flock until Release; a died owner's is free at once.
func (l *Library) Lease(ctx context.Context, r Request) (*Lease, error) { panic("unwritten") }

// Lease is the right of this process to use one drive. Not safe for concurrent use.
type Lease struct{}

func (le *Lease) Drive() DriveConfig { panic("unwritten") }

// Wanted tells whether another process waits for this drive.
func (le *Lease) Wanted() bool { panic("unwritten") }

// Load brings the tape into the drive: nothing to do when it is there; another tape goes home first.
// Waits until the drive is ready.
func (le *Lease) Load(ctx context.Context, b Barcode) error { panic("unwritten") }

// Unload brings the tape back to its slot, or a free one.
func (le *Lease) Unload(ctx context.Context) error { panic("unwritten") }

// Loaded says what the changer reports in this drive, "" for nothing or no barcode.
func (le *Lease) Loaded(ctx context.Context) (Barcode, bool, error) { panic("unwritten") }

// Content is what a look at a loaded tape proved.
type Content int

const (
	ContentUnknown Content = iota // an error, or something that is not LTFS
	ContentBlank                  // no LTFS label and end of data at the first record
	ContentLTFS
	ContentForeign // data that is not LTFS
)

// Look finds out what is on the loaded tape without changing it.
func (le *Lease) Look(ctx context.Context) (Content, error) { panic("unwritten") }

// FormatRequest names the new volume. Erase formats over what is there; without it only a tape
// proved blank is formatted.
type FormatRequest struct {
	Barcode Barcode
	Erase   bool
}

// Format makes an LTFS volume and returns its UUID, as mkltfs printed it.
func (le *Lease) Format(ctx context.Context, r FormatRequest) (uuid string, err error) {
	panic("unwritten")
}

// MountRequest: UUID "" accepts any volume (and the caller decides).
type MountRequest struct {
	UUID     string
	ReadOnly bool
}

// Mount starts ltfs -f as a child and waits until the mount is proved: in mountinfo, by this
// process, with the expected UUID.
func (le *Lease) Mount(ctx context.Context, r MountRequest) (*Volume, error) { panic("unwritten") }

// Volume returns the mounted volume of this lease, nil when there is none.
func (le *Lease) Volume() *Volume { panic("unwritten") }

// Release gives the drive back; a volume still mounted is synced if needed, unmounted and awaited first.
// The tape stays in the drive.
func (le *Lease) Release(ctx context.Context) error { panic("unwritten") }

// Volume is a mounted LTFS volume. Closed by Unmount.
type Volume struct {
	Dir      string // the mount point
	UUID     string
	Name     string
	ReadOnly bool  // also when ltfs chose it: write-protected or full
	Capacity int64 // bytes of the data partition
}

// Generation is the index generation that the mount shows now.
func (v *Volume) Generation() (int64, error) { panic("unwritten") }

// Free is the space left, bytes: a guide only.
func (v *Volume) Free() (int64, error) { panic("unwritten") }

// StartBlock is where a file begins on the data partition, -1 for an empty one.
func (v *Volume) StartBlock(name string) (int64, error) { panic("unwritten") }

// Sync writes the index and proves it: the generation rose, still mounted read-write, same UUID.
// Returns the new generation. Any doubt is ErrSync.
func (v *Volume) Sync(ctx context.Context) (int64, error) { panic("unwritten") }

// Unmount unmounts and waits until the ltfs process is gone. It does not prove anything written.
func (v *Volume) Unmount(ctx context.Context) error { panic("unwritten") }

// Attrs reads the user.ltfs.* attributes by name that exist, without the prefix.
func (v *Volume) Attrs(names ...string) map[string]string { panic("unwritten") }
