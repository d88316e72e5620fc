package manifest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/crypto"
)

// ErrUnproved: a manifest's MAC, name or content does not hold. Nothing of it is to be believed.
var ErrUnproved = errors.New("manifest is not proved")

// keyFolder is where a key's objects and manifests lie on a tape.
func keyFolder(fingerprint string) string { return "tapefs/" + fingerprint }

// Name is a manifest's path on its tape.
func Name(fingerprint, volume string, seq int) string {
	return fmt.Sprintf("%s/manifest-%s-%06d.tar.enc", keyFolder(fingerprint), volume, seq)
}

// MacName is the path of the proof beside a manifest or catalog snapshot.
func MacName(name string) string { return strings.TrimSuffix(name, ".tar.enc") + ".mac" }

var Names = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^manifest-([0-9a-fA-F-]{1,64})-([0-9]{6,})\.tar\.enc$`)
})

// Proof is a .mac file. The MAC is over all lines before its own, and the sealed bytes.
type Proof struct {
	Catalog, Volume string
	Seq             int
	Previous, MAC   []byte
}

func (t Proof) Header() []byte {
	return fmt.Appendf(nil, "tapefs-manifest %d\ncatalog=%s\nvolume=%s\nseq=%d\nprevious=%x\n", volume.TapeFormat, t.Catalog, t.Volume, t.Seq, t.Previous)
}

func (t Proof) text() []byte { return fmt.Appendf(t.Header(), "mac=%x\n", t.MAC) }

// maxProof bounds what is read of a .mac file, in bytes; it has about 320.
const maxProof = 4096

// ParseProof reads a .mac file and accepts only what text would write.
func ParseProof(b []byte) (Proof, error) {
	var t Proof
	if len(b) > maxProof {
		return t, fmt.Errorf("%w: .mac file of %d bytes", ErrUnproved, len(b))
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		var err error
		switch name {
		case "catalog":
			t.Catalog = value
		case "volume":
			t.Volume = value
		case "seq":
			t.Seq, err = strconv.Atoi(value)
		case "previous":
			t.Previous, err = hex.DecodeString(value)
		case "mac":
			t.MAC, err = hex.DecodeString(value)
		}
		if err != nil {
			return t, fmt.Errorf("%w: .mac line %.40q", ErrUnproved, line)
		}
	}
	if !bytes.Equal(t.text(), b) || len(t.MAC) != sha256.Size || len(t.Previous) != sha256.Size || t.Seq < 1 ||
		!volume.UUIDText().MatchString(t.Catalog) || !volume.UUIDText().MatchString(t.Volume) {
		return t, fmt.Errorf("%w: the .mac file is not in the form of format %d", ErrUnproved, volume.TapeFormat)
	}
	return t, nil
}

// Read proves a manifest and then calls fn for each record after the first: a pointer to
// SourceRecord, KeyRecord, PoolRecord, TapeRecord, DirRecord, ObjectRecord, SumRecord, PartRecord,
// MemberRecord or ChangeRecord. Types it does not know are passed over. name is its file's name:
// a manifest under another one's name, seq or volume is not proved. The sealed bytes are read twice, and
// must not change in between: the caller gives a file of its own. Errors about content wrap ErrUnproved. Where types are named, records
// of others are only held to be JSON, which takes a quarter of the time.
func Read(name string, sealed io.ReadSeeker, mac []byte, key *crypto.Key, fn func(record any) error, types ...string) (Head, error) {
	var head Head
	t, err := ParseProof(mac)
	if err != nil {
		return head, err
	}
	base := Names().FindStringSubmatch(path.Base(name))
	if base == nil || base[1] != t.Volume || path.Base(Name("", t.Volume, t.Seq)) != path.Base(name) {
		return head, fmt.Errorf("%w: its name is %q, its proof says volume %s seq %d", ErrUnproved, name, t.Volume, t.Seq)
	}
	h := key.ManifestMAC(t.Header())
	if _, err := io.Copy(h, sealed); err != nil {
		return head, fmt.Errorf("read manifest: %w", err)
	}
	if !hmac.Equal(h.Sum(nil), t.MAC) {
		return head, fmt.Errorf("%w: the MAC is wrong, or the key is", ErrUnproved)
	}
	if _, err := sealed.Seek(0, io.SeekStart); err != nil {
		return head, fmt.Errorf("read manifest: %w", err)
	}
	plain, err := key.NewReader(bufio.NewReaderSize(sealed, 1<<20))
	if err != nil {
		return head, fmt.Errorf("read manifest: %w", err)
	}
	members := tar.NewReader(plain)
	for {
		m, err := members.Next()
		if err != nil {
			return head, fmt.Errorf("%w: no %s in it: %w", ErrUnproved, recordsMember, err)
		}
		if m.Name == recordsMember {
			break
		}
	}
	records := jsontext.NewDecoder(members, jsonAsEver)
	if err := json.UnmarshalDecode(records, &head); err != nil {
		return head, fmt.Errorf("%w: first record: %w", ErrUnproved, err)
	}
	if head.Type != "manifest" || head.Catalog != t.Catalog || head.Volume != t.Volume || head.Seq != t.Seq || head.Previous != hex.EncodeToString(t.Previous) {
		return head, fmt.Errorf("%w: its first record and its proof differ", ErrUnproved)
	}
	if head.Format != volume.TapeFormat {
		return head, fmt.Errorf("manifest has format %d, known is %d; use a newer tapefs", head.Format, volume.TapeFormat)
	}
	for n := 2; ; n++ {
		raw, err := records.ReadValue()
		if err == io.EOF {
			return head, nil
		} else if err != nil {
			return head, fmt.Errorf("%w: record %d: %w", ErrUnproved, n, err)
		}
		if len(types) > 0 {
			if word, err := recordType(raw); err == nil && !slices.Contains(types, word) {
				continue
			}
		}
		record, err := ParseRecord(raw)
		if err != nil {
			return head, fmt.Errorf("%w: record %d: %w", ErrUnproved, n, err)
		}
		if record == nil {
			continue
		}
		if err := fn(record); err != nil {
			return head, err
		}
	}
}

// jsonAsEver reads what encoding/json reads: manifests of many years lie on tapes.
var jsonAsEver = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true), json.MatchCaseInsensitiveNames(true))

// recordType is a record's type. It comes first where we wrote it: to look saves reading each record twice.
func recordType(raw []byte) (string, error) {
	if rest, ok := bytes.CutPrefix(raw, []byte(`{"type":"`)); ok {
		if word, _, ok := bytes.Cut(rest[:min(len(rest), 16)], []byte(`",`)); ok && bytes.IndexByte(word, '\\') < 0 {
			return string(word), nil
		}
	}
	var is struct {
		Type string `json:"type"`
	}
	err := json.Unmarshal(raw, &is, jsonAsEver)
	return is.Type, err
}

// ParseRecord returns a pointer to the record, or nil for an unknown type.
func ParseRecord(raw []byte) (any, error) {
	word, err := recordType(raw)
	if err != nil {
		return nil, err
	}
	var record any
	switch word {
	case "source":
		record = new(SourceRecord)
	case "key":
		record = new(KeyRecord)
	case "pool":
		record = new(PoolRecord)
	case "tape":
		record = new(TapeRecord)
	case "dir":
		record = new(DirRecord)
	case "object":
		record = new(ObjectRecord)
	case "sum":
		record = new(SumRecord)
	case "part":
		record = new(PartRecord)
	case "member":
		record = new(MemberRecord)
	case "change":
		record = new(ChangeRecord)
	default:
		return nil, nil
	}
	return record, json.Unmarshal(raw, record, jsonAsEver)
}
