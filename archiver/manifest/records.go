package manifest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	jsonx "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tapefs/tapefs/catalog"
)

// The records of manifest.jsonl. FORMAT.md describes them; a reader passes over fields and types
// that it does not know.

type Head struct {
	Type     string    `json:"type"`
	Format   int       `json:"format"`
	Catalog  string    `json:"catalog"`
	Volume   string    `json:"volume"`
	Barcode  string    `json:"barcode"`
	Pool     string    `json:"pool"`
	Number   int       `json:"number"`
	Seq      int       `json:"seq"`
	Previous string    `json:"previous"` // hex
	Written  time.Time `json:"written"`
	Version  string    `json:"version"`
	After    int64     `json:"after"` // changes with greater ids
	Upto     int64     `json:"upto"`  // up to this one are named here

	LastID catalog.ID `json:"last_id"` // the greatest id that was given to a version by then
}

type SourceRecord struct {
	Type   string     `json:"type"`
	Name   string     `json:"name"`
	URL    text       `json:"url"`
	Root   catalog.ID `json:"root"`
	Listed time.Time  `json:"listed,omitzero"`
}

type KeyRecord struct {
	Type       string    `json:"type"`
	Key        string    `json:"key"` // fingerprint
	Cipher     string    `json:"cipher"`
	Iterations int       `json:"iterations"`
	Added      time.Time `json:"added"`
	CopySeen   time.Time `json:"copy_seen,omitzero"`
}

type PoolRecord struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

type TapeRecord struct {
	Type       string    `json:"type"`
	Barcode    string    `json:"barcode"`
	Volume     string    `json:"volume,omitempty"`
	Pool       string    `json:"pool,omitempty"`
	Number     int       `json:"number"`
	Generation int       `json:"generation,omitempty"`
	State      string    `json:"state"`
	Capacity   int64     `json:"capacity,omitempty"`
	Free       int64     `json:"free,omitempty"`
	Used       int64     `json:"used,omitempty"`
	Leftover   int64     `json:"leftover,omitempty"`
	Formatted  time.Time `json:"formatted,omitzero"`
	Seen       time.Time `json:"seen,omitzero"`
	Loads      int64     `json:"loads,omitempty"`
	Place      text      `json:"place,omitzero"`
	Note       text      `json:"note,omitzero"`
	Stage      string    `json:"stage,omitempty"`
	Emptied    string    `json:"emptied,omitempty"` // volume that was let go
	Suspected  time.Time `json:"suspected,omitzero"`
	Was        string    `json:"was,omitempty"`    // its state before it was suspect
	Damage     bool      `json:"damage,omitempty"` // it became suspect because damage was found on it
	Checked    time.Time `json:"checked,omitzero"`
}

func newTapeRecord(t catalog.Tape) TapeRecord {
	return TapeRecord{Type: "tape", Barcode: t.Barcode, Volume: t.UUID, Pool: t.PoolName, Number: t.Number, Generation: t.Generation,
		State: t.State, Capacity: t.Capacity, Free: t.Free, Used: t.Used, Leftover: t.Leftover, Formatted: t.Formatted.UTC(),
		Seen: t.Seen.UTC(), Loads: t.Loads, Place: newText(t.Place), Note: newText(t.Note), Stage: t.Stage, Emptied: t.EmptiedUUID,
		Suspected: t.Suspected.UTC(), Was: t.Was, Damage: t.FoundDamaged, Checked: t.Checked.UTC()}
}

// Tape is newTapeRecord the other way. Programs that wrote no stage said the same in the note, in fixed words that no manifest
// loses any more; catalogs of theirs are read so by migration 0016.
func (r *TapeRecord) Tape() catalog.Tape {
	t := catalog.Tape{Barcode: r.Barcode, UUID: r.Volume, PoolName: r.Pool, Number: r.Number, Generation: r.Generation, State: r.State,
		Capacity: r.Capacity, Free: r.Free, Leftover: r.Leftover, Formatted: r.Formatted, Seen: r.Seen, Loads: r.Loads,
		Place: string(r.Place), Note: string(r.Note), Stage: r.Stage, EmptiedUUID: r.Emptied,
		Suspected: r.Suspected, Was: r.Was, FoundDamaged: r.Damage, Checked: r.Checked}
	if t.Stage != "" || t.EmptiedUUID != "" {
		return t
	}
	emptied, isEmptied := strings.CutPrefix(t.Note, "being emptied of volume ")
	switch {
	case t.State == catalog.TapeSuperseded && strings.HasPrefix(t.Note, "repacked on "):
		t.Stage = catalog.StageRepacked
	case t.UUID == "" && isEmptied:
		t.EmptiedUUID = emptied
	case t.UUID == "" && !t.Formatted.IsZero() && t.State != catalog.TapeForeign:
		t.Stage = catalog.StageFormatting
	}
	return t
}

type ObjectRecord struct {
	Type       string    `json:"type"`
	Object     string    `json:"object"` // its id: 32 hex digits
	Source     string    `json:"source"`
	Key        string    `json:"key"`            // fingerprint
	Salt       string    `json:"salt,omitempty"` // hex; missing before it is packed
	PartSize   int64     `json:"part_size"`
	PlainSize  int64     `json:"plain_size"`
	SealedSize int64     `json:"sealed_size"`
	State      string    `json:"state"`
	Created    time.Time `json:"created"`
}

// SumRecord is one part of an object, wherever its copies lie.
type SumRecord struct {
	Type   string `json:"type"`
	Object string `json:"object"`
	Number int    `json:"number"` // from 0
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Sums   []byte `json:"sums"` // 32 bytes for each extent, base64
}

// PartRecord is one part as a file on a tape.
type PartRecord struct {
	Type       string `json:"type"`
	Object     string `json:"object"`
	Pool       string `json:"pool"`
	Number     int    `json:"number"` // from 0
	Barcode    string `json:"barcode"`
	Volume     string `json:"volume"`
	Name       string `json:"name"`
	Size       int64  `json:"size"`
	StartBlock int64  `json:"startblock"`
	State      string `json:"state"`
}

type DirRecord struct {
	Type string `json:"type"`
	Node
}

type MemberRecord struct {
	Type   string `json:"type"`
	Object string `json:"object"`
	Header int64  `json:"header"` // offsets in the plain stream; -1 as in the catalog
	Data   int64  `json:"offset"`
	Void   bool   `json:"void,omitempty"`
	Node
}

type ChangeRecord struct {
	Type    string          `json:"type"`
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Kind    string          `json:"kind"`
	Version catalog.ID      `json:"version"`
	Detail  json.RawMessage `json:"detail,omitempty"`
	Now     *Node           `json:"now,omitempty"` // the version when the manifest was written
}

// Node is a version.
type Node struct {
	ID       catalog.ID `json:"id"`
	Parent   catalog.ID `json:"parent"`
	Inode    catalog.ID `json:"inode,omitempty"` // missing: id
	Content  catalog.ID `json:"data,omitempty"`  // missing: id
	Name     text       `json:"name"`
	Kind     string     `json:"kind"`
	Mode     string     `json:"mode"` // octal
	UID      uint32     `json:"uid"`
	GID      uint32     `json:"gid"`
	User     text       `json:"user,omitzero"`
	Group    text       `json:"group,omitzero"`
	Size     int64      `json:"size"`
	MTime    int64      `json:"mtime"` // Unix seconds
	MTimeNS  int32      `json:"mtime_ns"`
	Nlink    uint32     `json:"nlink,omitempty"`
	Target   text       `json:"target,omitzero"`
	SHA256   string     `json:"sha256,omitempty"`
	State    string     `json:"state"`
	Since    time.Time  `json:"since,omitzero"`
	Until    time.Time  `json:"until,omitzero"`
	Vanished time.Time  `json:"vanished,omitzero"`
}

func newNode(v *catalog.Version) Node {
	n := Node{ID: v.ID, Parent: v.Parent, Name: newText(v.Name), Kind: kinds.word(int(v.Kind)), Mode: fmt.Sprintf("%04o", v.Mode),
		UID: v.Owner.UID, GID: v.Owner.GID, User: newText(v.Owner.User), Group: newText(v.Owner.Group), Size: v.Size,
		MTime: v.MTime.Sec, MTimeNS: v.MTime.Nsec, Nlink: v.Nlink, Target: newText(v.Target), SHA256: hex.EncodeToString(v.SHA256),
		State: versionStates.word(int(v.State)), Since: v.Since.UTC(), Until: v.Until.UTC(), Vanished: v.Vanished.UTC()}
	if v.Inode != v.ID {
		n.Inode = v.Inode
	}
	if v.Data != v.ID {
		n.Content = v.Data
	}
	return n
}

// Version is newNode's inverse, as far as a manifest knows.
func (n *Node) Version() (catalog.Version, error) {
	kind, err := kinds.Number(n.Kind)
	if err != nil {
		return catalog.Version{}, err
	}
	state, err := versionStates.Number(n.State)
	if err != nil {
		return catalog.Version{}, err
	}
	mode, err := strconv.ParseUint(n.Mode, 8, 32)
	if err != nil || mode > 0o7777 {
		return catalog.Version{}, fmt.Errorf("mode %.20q", n.Mode)
	}
	sum, err := hex.DecodeString(n.SHA256)
	if err != nil || len(sum) != 0 && len(sum) != 32 {
		return catalog.Version{}, fmt.Errorf("sha256 %.80q", n.SHA256)
	}
	v := catalog.Version{ID: n.ID, Parent: n.Parent, Inode: n.Inode, Data: n.Content, Name: string(n.Name), Kind: catalog.Kind(kind),
		Mode: uint32(mode), Owner: catalog.Owner{UID: n.UID, GID: n.GID, User: string(n.User), Group: string(n.Group)}, Size: n.Size,
		MTime: catalog.Time{Sec: n.MTime, Nsec: n.MTimeNS}, Nlink: n.Nlink, Target: string(n.Target), State: catalog.VersionState(state),
		Since: n.Since, Until: n.Until, Vanished: n.Vanished}
	if len(sum) > 0 {
		v.SHA256 = sum
	}
	if v.Inode == 0 {
		v.Inode = v.ID
	}
	if v.Data == 0 {
		v.Data = v.ID
	}
	return v, nil
}

// words are the names of a catalog's numbers in a manifest: they never change meaning.
type words []string

var (
	kinds         = words{1: "file", 2: "directory", 3: "symlink"}
	versionStates = words{"planned", "present", "void", "forgotten"}
	ObjectStates  = words{"planned", "packed", "superseded", "dropped"}
	PartStates    = words{"writing", "written", "durable", "abandoned", "damaged", "lost"}
)

func (w words) word(n int) string {
	if n < 0 || n >= len(w) {
		return ""
	}
	return w[n]
}

func (w words) Number(word string) (int, error) {
	for n, known := range w {
		if known == word && word != "" {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%.20q is none of %q", word, []string(w))
}

// text is bytes: valid UTF-8 is a JSON string, anything else {"base64": "..."}.
type text string

func newText(s string) text { return text(s) }

type rawText struct {
	Base64 []byte `json:"base64"`
}

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(rawText{[]byte(t)})
}

func (t *text) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch d.PeekKind() {
	case '{':
		var raw rawText
		if err := jsonx.UnmarshalDecode(d, &raw); err != nil {
			return err
		}
		*t = text(raw.Base64)
		return nil
	case 'n':
		return d.SkipValue()
	}
	return jsonx.UnmarshalDecode(d, (*string)(t))
}

// scratch is a temporary file without a name, written once and then copied. Its first error sticks.
type scratch struct {
	f    *os.File
	w    *bufio.Writer
	size int64
	err  error
}

// ScratchPrefix begins the names of spool files, gone as soon as they are made, in which a manifest is put together.
const ScratchPrefix = "manifest-"

func newScratch(dir string) (*scratch, error) {
	f, err := os.CreateTemp(dir, ScratchPrefix)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &scratch{f: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

func (s *scratch) write(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
		s.size += int64(len(b))
	}
}

func (s *scratch) printf(format string, args ...any) { s.write(fmt.Appendf(nil, format, args...)) }

// record writes one line of JSON.
func (s *scratch) record(r any) {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil && s.err == nil {
		s.err = err
	}
	s.write(line.Bytes())
}

func (s *scratch) copyTo(w io.Writer) error {
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err != nil {
		return s.err
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(w, s.f)
	if err == nil && n != s.size {
		err = fmt.Errorf("scratch file holds %d bytes of %d", n, s.size)
	}
	return err
}
