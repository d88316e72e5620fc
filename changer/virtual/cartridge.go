package virtual

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/tapefs/tapefs/changer/lto"
)

// Content of a new cartridge.
const (
	Blank = "blank" // nothing was ever written; the default
	Raw   = "raw"   // data that is not LTFS
)

// Cartridge is a tape to be put into the library.
type Cartridge struct {
	Barcode        string // "" for none; CLN… is a cleaning cartridge; …L6 gives the generation
	Generation     int    // 0: by the barcode, else the library's
	Size           int64  // bytes of the data partition, 0: the library's
	Content        string // Blank or Raw
	WriteProtected bool
}

// minTapeSize keeps room for a few blocks and indexes.
const minTapeSize = 16 << 20

// meta is meta.json of a cartridge: what does not change by writing files.
type meta struct {
	Barcode        string    `json:"barcode,omitempty"`
	Generation     int       `json:"generation"`
	Capacity       int64     `json:"capacity"` // bytes of the data partition
	WriteProtected bool      `json:"write_protected,omitempty"`
	Cleaning       bool      `json:"cleaning,omitempty"`
	RawBlocks      int64     `json:"raw_blocks,omitempty"` // blocks of data that is not LTFS
	Formatted      bool      `json:"formatted,omitempty"`
	UUID           string    `json:"uuid,omitempty"`
	Serial         string    `json:"serial,omitempty"`
	Memory         string    `json:"memory,omitempty"` // barcode in the cartridge's memory, which outlives an erase
	FormatTime     time.Time `json:"format_time,omitzero"`
	Full           bool      `json:"full,omitempty"` // a write has met the end of the tape
	Loads          int64     `json:"loads"`

	WritePerm bool    `json:"write_perm,omitempty"` // a write failed for good: it mounts read-only
	Unclean   bool    `json:"unclean,omitempty"`    // its ltfs was killed: it does not mount until ltfsck was run
	Lost      []int64 `json:"lost,omitempty"`       // places on the data partition that were never written, whatever the index says
}

func (l *Library) tapeDir(id string) string { return filepath.Join(l.Dir, "tapes", id) }

func (l *Library) loadMeta(id string) (*meta, error) {
	b, err := os.ReadFile(filepath.Join(l.tapeDir(id), "meta.json"))
	if err != nil {
		return nil, err
	}
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("read meta.json of %s: %w", id, err)
	}
	return &m, nil
}

func (l *Library) saveMeta(id string, m *meta) error {
	return writeJSON(filepath.Join(l.tapeDir(id), "meta.json"), m)
}

// formatOf reads the media suffix of a barcode.
func formatOf(barcode string) (lto.Format, bool) {
	if len(barcode) != 8 {
		return lto.Format{}, false
	}
	f, _, ok := lto.BySuffix(barcode[6:])
	return f, ok
}

// format is what the tape is recorded in: its label says, for unlabelled ones their generation.
func (m *meta) format() lto.Format {
	if f, ok := formatOf(m.Barcode); ok && f.Generation == m.Generation {
		return f
	}
	f, _ := lto.ByGeneration(m.Generation)
	return f
}

// Add puts a new cartridge into an empty slot, 1 for the first; mail slots follow the others.
func (l *Library) Add(slot int, c Cartridge) error {
	if err := l.add(slot, c); err != nil {
		return fmt.Errorf("add tape %q to slot %d: %w", c.Barcode, slot, err)
	}
	return nil
}

func (l *Library) add(slot int, c Cartridge) error {
	if len(c.Barcode) > 32 || strings.Trim(c.Barcode, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return errors.New("a barcode has up to 32 capital letters and digits")
	}
	if c.Generation == 0 {
		f, _ := formatOf(c.Barcode)
		c.Generation = f.Generation
	}
	if c.Generation == 0 {
		c.Generation = l.generation
	}
	if c.Size != 0 && c.Size < minTapeSize {
		return fmt.Errorf("a tape of %d bytes: at least %d are needed", c.Size, int64(minTapeSize))
	}
	m := &meta{Barcode: c.Barcode, Generation: c.Generation, Capacity: c.Size, WriteProtected: c.WriteProtected,
		Cleaning: strings.HasPrefix(c.Barcode, "CLN")}
	switch c.Content {
	case "", Blank:
	case Raw:
		m.RawBlocks = 1000
	default:
		return fmt.Errorf("content %q: %s or %s", c.Content, Blank, Raw)
	}
	return l.change(func(st *state) error {
		if slot < 1 || slot > len(st.Slots) {
			return fmt.Errorf("there are slots 1 to %d", len(st.Slots))
		}
		if st.Slots[slot-1] != "" {
			return errors.New("the slot is full")
		}
		if m.Capacity == 0 {
			m.Capacity = st.TapeSize
		}
		id := c.Barcode
		for n := 1; id == "" || exists(l.tapeDir(id)); n++ {
			id = fmt.Sprintf("unlabelled-%d", n)
			if c.Barcode != "" {
				id = fmt.Sprintf("%s-%d", c.Barcode, n+1)
			}
		}
		if err := os.MkdirAll(filepath.Join(l.tapeDir(id), "files"), 0o755); err != nil {
			return err
		}
		if err := l.saveMeta(id, m); err != nil {
			return err
		}
		st.Slots[slot-1] = id
		return nil
	})
}

// Remove takes the cartridge out of a slot for good.
func (l *Library) Remove(slot int) error {
	var id string
	err := l.change(func(st *state) error {
		if slot < 1 || slot > len(st.Slots) || st.Slots[slot-1] == "" {
			return fmt.Errorf("remove tape from slot %d: no tape there", slot)
		}
		id, st.Slots[slot-1] = st.Slots[slot-1], ""
		return nil
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(l.tapeDir(id))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// index is index.json: what an LTFS index on the tape holds. Replaced at once, only when LTFS
// would have written an index.
type index struct {
	Generation int64          `json:"generation"`
	Time       time.Time      `json:"time"`
	Creator    string         `json:"creator"`
	Message    string         `json:"message,omitempty"`
	Self       position       `json:"self"`
	Back       position       `json:"back"`           // of the last index on partition b before this one
	LastOnB    int64          `json:"last_on_b"`      // block of the newest index on partition b
	Used       int64          `json:"used,omitempty"` // bytes of the data partition before this index
	VolumeName string         `json:"volume_name"`
	NextUID    uint64         `json:"next_uid"`
	History    []indexVersion `json:"history,omitempty"` // older generations, oldest first
	Root       *indexNode     `json:"root"`
}

// position is a block on a partition, a or b.
type position struct {
	Partition string `json:"partition"`
	Block     int64  `json:"block"`
}

// indexVersion is what ltfsck -l tells of a generation.
type indexVersion struct {
	Generation int64     `json:"generation"`
	Time       time.Time `json:"time"`
	Creator    string    `json:"creator"`
	Message    string    `json:"message,omitempty"`
	VolumeName string    `json:"volume_name"`
	Self       position  `json:"self"`
	Back       position  `json:"back"`
}

// indexNode is a file, directory or symbolic link of an index.
type indexNode struct {
	Name     string            `json:"name"`
	UID      uint64            `json:"uid"`
	Kind     string            `json:"kind"` // file, dir, link
	Size     int64             `json:"size,omitempty"`
	ReadOnly bool              `json:"readonly,omitempty"`
	Target   string            `json:"target,omitempty"`
	Data     string            `json:"data,omitempty"` // file below files/ that holds the bytes
	Created  time.Time         `json:"created"`
	Modified time.Time         `json:"modified"`
	Changed  time.Time         `json:"changed"`
	Accessed time.Time         `json:"accessed"`
	Backup   time.Time         `json:"backup"`
	Xattrs   map[string][]byte `json:"xattrs,omitempty"`
	Extents  []extent          `json:"extents,omitempty"`
	Children []*indexNode      `json:"children,omitempty"`
}

func (l *Library) loadIndex(id string) (*index, error) {
	b, err := os.ReadFile(filepath.Join(l.tapeDir(id), "index.json"))
	if err != nil {
		return nil, err
	}
	var x index
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, fmt.Errorf("read index.json of %s: %w", id, err)
	}
	if x.Root == nil {
		return nil, fmt.Errorf("read index.json of %s: no root", id)
	}
	return &x, nil
}

// saveIndex returns the length of the index in bytes.
func (l *Library) saveIndex(id string, x *index) (int64, error) {
	b, err := json.Marshal(x)
	if err != nil {
		return 0, err
	}
	return int64(len(b)), renameio.WriteFile(filepath.Join(l.tapeDir(id), "index.json"), append(b, '\n'), 0o644)
}
