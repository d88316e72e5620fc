package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// journalLife is a catalog with two tapes of a pool, and their directories.
type journalLife struct {
	t      *testing.T
	db     *catalog.DB
	run    catalog.Run
	source catalog.Source
	key    *crypto.Key
	file   string // key file
	row    catalog.SealKey
	pool   catalog.Pool
	tapes  [2]catalog.Tape
	hands  [2]*handTape
}

func newJournalLife(t *testing.T) *journalLife {
	t.Helper()
	ctx := t.Context()
	l := &journalLife{t: t}
	var err error
	l.db, err = catalog.Create(ctx, filepath.Join(t.TempDir(), "catalog.db"))
	must(t, err)
	t.Cleanup(func() { l.db.Close() })
	l.key, l.file = newTestKey(t, t.TempDir())
	l.run, err = l.db.StartRun(ctx, "archive", []string{"src"})
	must(t, err)
	l.source, err = l.db.EnsureSource(ctx, "src", "u@h:/srv/\xff")
	must(t, err)
	l.row, err = l.db.EnsureKey(ctx, l.key.Fingerprint(), crypto.CTR, crypto.DefaultIterations)
	must(t, err)
	l.pool, err = l.db.EnsurePool(ctx, "main")
	must(t, err)
	for i, volume := range []string{volumeA, volumeB} {
		l.hands[i] = newHandTape(t, volume, i+1)
		l.tapes[i], err = l.db.AddTape(ctx, catalog.Tape{Barcode: l.hands[i].label.Barcode, UUID: volume, Pool: l.pool.ID, Number: i + 1,
			State: catalog.TapeOpen, Capacity: 1e12, Formatted: time.Unix(1700000000, 5), Place: "shelf \xff"})
		must(t, err)
	}
	return l
}

// owner and time of everything.
var oddMeta = catalog.Meta{Mode: 0o2755, Owner: catalog.Owner{UID: 1000, GID: 4000000000, User: "us\xffer", Group: "<grp>"}, MTime: catalog.Time{Sec: -1, Nsec: 999999999}}

// archive plans, fetches and writes one object; its parts go to the tapes named. The tar stream is
// real, so that restore.sh can read it. Void members are marked, and torn in the stream.
func (l *journalLife) archive(id string, files map[string]string, void map[string]bool, grid int64, tapes ...int) catalog.PlannedObject {
	l.t.Helper()
	ctx := l.t.Context()
	torn := map[string]string{}
	for name, body := range files {
		if torn["src/"+name] = body; void[name] {
			torn["src/"+name] = "torn"
		}
	}
	sealed := sealObject(l.t, l.key, "saltsalt", tarOf(l.t, torn))
	sub, err := l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "d\xff", oddMeta)
	must(l.t, err)
	deep, err := l.db.EnsureDir(ctx, l.run.ID, sub, "deep", oddMeta)
	must(l.t, err)
	o := catalog.NewObject{OID: id, Key: l.row.ID, PartSize: grid, PlannedSize: int64(len(sealed)), Pools: []int64{l.pool.ID}}
	for name := range files {
		parent := l.source.Root
		if path.Dir(name) == "d\xff/deep" {
			parent = deep
		}
		kind := catalog.File
		if strings.HasPrefix(files[name], "->") {
			kind = catalog.Symlink
		}
		o.Members = append(o.Members, catalog.NewVersion{Parent: parent, Name: path.Base(name), Kind: kind, Size: int64(len(files[name])), Meta: oddMeta})
	}
	b, planned, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "b-" + id}, []catalog.NewObject{o})
	must(l.t, err)
	var fetched []catalog.Fetched
	for _, v := range planned[0].Versions {
		f := catalog.Fetched{Version: v.ID, Size: v.Size, Nlink: 1, Meta: oddMeta}
		if v.Kind == catalog.Symlink {
			f.Target = "->\xff<target>"
		}
		fetched = append(fetched, f)
	}
	must(l.t, l.db.MarkFetched(ctx, l.run.ID, b.ID, fetched, time.Now()))
	must(l.t, l.db.SetBatchState(ctx, b.ID, catalog.Synced, 5))

	owed, err := l.db.OwedCopies(ctx, l.pool.ID)
	must(l.t, err)
	for i, tape := range tapes {
		part := sealed[int64(i)*grid : min(int64(len(sealed)), int64(i+1)*grid)]
		name := id + ".tar.enc"
		if len(tapes) > 1 {
			name = fmt.Sprintf("%s.%04d", name, i+1)
		}
		name = l.hands[tape].put(l.key, name, part)
		cp, err := l.db.AddCopyPart(ctx, catalog.CopyPart{Copy: owed[0].ID, Number: i, Tape: l.tapes[tape].ID, Name: name, Size: int64(len(part)), StartBlock: -1})
		must(l.t, err)
		var packing *catalog.Packing
		if i == len(tapes)-1 {
			salt, err := l.db.DrawSalt(ctx, l.row.ID, "object")
			must(l.t, err)
			packing = &catalog.Packing{Object: owed[0].Object.ID, Salt: salt, PlainSize: int64(len(sealed)) - 16, SealedSize: int64(len(sealed))}
			for n, v := range planned[0].Versions {
				m := catalog.PackedMember{Member: catalog.Member{Version: v.ID, Header: int64(n) * 1024, Data: int64(n)*1024 + 512}, Void: void[v.Name]}
				if v.Kind == catalog.File && !m.Void {
					sum := sha256.Sum256([]byte(v.Name))
					m.SHA256 = sum[:]
				}
				packing.Members = append(packing.Members, m)
			}
		}
		sum := sha256.Sum256(part)
		var sums []byte
		for rest := part; len(rest) > 0; rest = rest[min(len(rest), catalog.ExtentSize):] {
			s := sha256.Sum256(rest[:min(len(rest), catalog.ExtentSize)])
			sums = append(sums, s[:]...)
		}
		must(l.t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: cp.ID, StartBlock: int64(10 + i),
			Part: catalog.Part{Number: i, Size: int64(len(part)), SHA256: sum[:], Sums: sums}}, packing))
	}
	return planned[0]
}

// manifest writes and records the next manifest of a tape.
func (l *journalLife) manifest(tape int) catalog.Manifest {
	l.t.Helper()
	ctx := l.t.Context()
	previous, err := l.db.LastManifest(ctx, l.tapes[tape].ID)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		l.t.Fatal(err)
	}
	salt, err := l.db.DrawSalt(ctx, l.row.ID, "manifest")
	must(l.t, err)
	pools, err := l.db.Pools(ctx)
	must(l.t, err)
	scratch := l.t.TempDir()
	m, parts, err := Write(ctx, Input{DB: l.db, Dir: l.hands[tape].dir, Key: l.key, Salt: salt, Label: l.hands[tape].label,
		Tape: l.tapes[tape], Previous: previous, After: pools[0].Journalled, Scratch: scratch, Version: "1.0"})
	must(l.t, err)
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		l.t.Errorf("scratch files stay: %v, %v", left, err)
	}
	m, err = l.db.AddManifest(ctx, m, parts)
	must(l.t, err)
	return m
}

// read proves a manifest as it lies on a tape and returns its records.
func (l *journalLife) read(tape int, m catalog.Manifest) (Head, []any) {
	l.t.Helper()
	sealed, err := os.ReadFile(filepath.Join(l.hands[tape].dir, m.Name))
	must(l.t, err)
	mac, err := os.ReadFile(filepath.Join(l.hands[tape].dir, MacName(m.Name)))
	must(l.t, err)
	var all []any
	head, err := Read(m.Name, bytes.NewReader(sealed), mac, l.key, func(r any) error { all = append(all, r); return nil })
	must(l.t, err)
	return head, all
}

func of[T any](all []any) (some []*T) {
	for _, r := range all {
		if t, ok := r.(*T); ok {
			some = append(some, t)
		}
	}
	return some
}

func TestManifestRoundTrip(t *testing.T) {
	l, ctx := newJournalLife(t), context.Background()
	files := map[string]string{"d\xff/deep/f\n<&>": "one", "-rf": "two", "\xff\xfe": "three", "link": "->x"}
	o := l.archive(oid(1), files, map[string]bool{"-rf": true}, 4<<20, 0)
	v := o.Versions[0]
	must(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{v.ID}, time.Now()))
	m := l.manifest(0)
	head, all := l.read(0, m)
	if head.Seq != 1 || head.Previous != strings.Repeat("0", 64) || head.Catalog != l.hands[0].label.Catalog || head.Barcode != l.tapes[0].Barcode || head.Upto != m.Upto || m.Upto == 0 {
		t.Errorf("head: %+v", head)
	}

	// Each member's version comes back as the catalog has it.
	members := of[MemberRecord](all)
	if len(members) != len(files) {
		t.Fatalf("%d members, want %d", len(members), len(files))
	}
	dirs := map[catalog.ID]*DirRecord{}
	for _, d := range of[DirRecord](all) {
		if dirs[d.ID] != nil {
			t.Errorf("directory %d twice", d.ID)
		}
		dirs[d.ID] = d
	}
	compareNode := func(n *Node) {
		t.Helper()
		got, err := n.Version()
		must(t, err)
		want, err := l.db.Get(ctx, n.ID)
		must(t, err)
		want.Current, want.Batch = false, 0 // a rebuild finds out, and has no spool
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q comes back changed: %s", want.Name, d)
		}
		for id := want.Parent; id != catalog.Root; id = dirs[id].Parent {
			if dirs[id] == nil {
				t.Fatalf("%q: no record of directory %d above it", want.Name, id)
			}
		}
	}
	for _, r := range members {
		compareNode(&r.Node)
		if r.Object != oid(1) || r.Void != (r.Name == "-rf") || r.Data != r.Header+512 {
			t.Errorf("member: %+v", r)
		}
	}
	for _, d := range dirs {
		compareNode(&d.Node)
	}

	objects, sums, parts := of[ObjectRecord](all), of[SumRecord](all), of[PartRecord](all)
	wantParts, err := l.db.Parts(ctx, o.Object.ID)
	must(t, err)
	if len(objects) != 1 || len(sums) != 1 || len(parts) != 1 {
		t.Fatalf("%d objects, %d sums, %d parts", len(objects), len(sums), len(parts))
	}
	if got := objects[0]; got.Object != oid(1) || got.Source != "src" || got.Key != l.key.Fingerprint() || len(got.Salt) != 16 || got.PartSize != 4<<20 || got.SealedSize != got.PlainSize+16 || got.State != "packed" {
		t.Errorf("object: %+v", got)
	}
	if s := sums[0]; s.SHA256 != hex.EncodeToString(wantParts[0].SHA256) || !bytes.Equal(s.Sums, wantParts[0].Sums) || s.Size != wantParts[0].Size {
		t.Errorf("sums: %+v", s)
	}
	if p := parts[0]; p.Volume != volumeA || p.Barcode != l.tapes[0].Barcode || p.Pool != "main" || p.State != "written" || p.StartBlock != 10 || p.Number != 0 {
		t.Errorf("part: %+v", p)
	}
	if s := of[SourceRecord](all); len(s) != 1 || s[0].URL != "u@h:/srv/\xff" || s[0].Root != l.source.Root || dirs[l.source.Root] == nil {
		t.Errorf("source: %+v", s)
	}
	if k := of[KeyRecord](all); len(k) != 1 || k[0].Key != l.key.Fingerprint() || k[0].Cipher != crypto.CTR || k[0].Iterations != 10000 {
		t.Errorf("key: %+v", k)
	}
	if p := of[TapeRecord](all); len(p) != 2 || p[1].Volume != volumeB || p[0].Place != "shelf \xff" || p[0].Number != 1 || !p[0].Formatted.Equal(l.tapes[0].Formatted) {
		t.Errorf("tapes: %+v", p)
	}
	changes := of[ChangeRecord](all)
	var vanished *ChangeRecord
	for _, c := range changes {
		if c.Kind == "vanished" {
			vanished = c
		}
	}
	if vanished == nil || vanished.Version != v.ID || vanished.Now == nil || vanished.Now.Vanished.IsZero() {
		t.Errorf("changes: %+v", changes)
	}

	// The second one names only what is new, and follows the first.
	must(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 2, 1000, time.Now()))
	l.archive(oid(2), map[string]string{"later": "later"}, nil, 4<<20, 0)
	second := l.manifest(0)
	head, all = l.read(0, second)
	if head.Seq != 2 || head.Previous != hex.EncodeToString(m.MAC) || len(of[MemberRecord](all)) != 1 || len(of[ChangeRecord](all)) != 0 {
		t.Errorf("second: %+v with %d members, %d changes", head, len(of[MemberRecord](all)), len(of[ChangeRecord](all)))
	}

	// The secret and the names are nowhere on the tape in clear.
	err = filepath.WalkDir(l.hands[0].dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if bytes.Contains(b, []byte(l.key.Text())) || bytes.Contains(b, []byte("deep")) {
			t.Errorf("%s holds the key or a file's name", p)
		}
		return err
	})
	must(t, err)
}

func TestManifestForgeriesAreNoticed(t *testing.T) {
	l := newJournalLife(t)
	l.archive(oid(1), map[string]string{"a": "a"}, nil, 4<<20, 0)
	m := l.manifest(0)
	sealed, err := os.ReadFile(filepath.Join(l.hands[0].dir, m.Name))
	must(t, err)
	mac, err := os.ReadFile(filepath.Join(l.hands[0].dir, MacName(m.Name)))
	must(t, err)
	read := func(name string, sealed, mac []byte, k *crypto.Key) error {
		_, err := Read(name, bytes.NewReader(sealed), mac, k, func(any) error { return errors.New("a record was believed") })
		return err
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrUnproved) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range sealed {
		if i > 64 && i < len(sealed)-64 && i%97 != 0 {
			continue
		}
		b := bytes.Clone(sealed)
		b[i] ^= 0x10
		refused(fmt.Sprintf("sealed byte %d", i), read(m.Name, b, mac, l.key))
	}
	for i := range mac {
		for _, bit := range []byte{1, 0x20} {
			b := bytes.Clone(mac)
			b[i] ^= bit
			refused(fmt.Sprintf(".mac byte %d", i), read(m.Name, sealed, b, l.key))
		}
	}
	refused("cut", read(m.Name, sealed[:len(sealed)-1], mac, l.key))
	refused("longer", read(m.Name, append(bytes.Clone(sealed), 0), mac, l.key))
	refused("empty proof", read(m.Name, sealed, nil, l.key))
	refused("longer proof", read(m.Name, sealed, append(bytes.Clone(mac), '\n'), l.key))
	refused("another seq's name", read(Name(l.key.Fingerprint(), volumeA, 2), sealed, mac, l.key))
	refused("another volume's name", read(Name(l.key.Fingerprint(), volumeB, 1), sealed, mac, l.key))
	other, _ := newTestKey(t, t.TempDir())
	refused("another key", read(m.Name, sealed, mac, other))

	l.archive(oid(2), map[string]string{"b": "b"}, nil, 4<<20, 0)
	second := l.manifest(0)
	mac2, err := os.ReadFile(filepath.Join(l.hands[0].dir, MacName(second.Name)))
	must(t, err)
	refused("another manifest's proof", read(m.Name, sealed, mac2, l.key))
	refused("another manifest's proof and name", read(second.Name, sealed, mac2, l.key))
}

// FORMAT.md's shell lines compute the MAC.
func TestManifestMACInAShell(t *testing.T) {
	l := newJournalLife(t)
	l.archive(oid(1), map[string]string{"a": "a"}, nil, 4<<20, 0)
	m := l.manifest(0)
	name := filepath.Join(l.hands[0].dir, m.Name)
	out, err := exec.Command("sh", "-c", `k=$(openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt "hexkey:$(cat "$1")" -kdfopt 'info:tapefs manifest v1' HKDF | tr -d ':')
		{ sed '/^mac=/d' "$2"; cat "$3"; } | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$k" -r | cut -c1-64
		sed -n 's/^mac=//p' "$2"`, "sh", l.file, filepath.Join(l.hands[0].dir, MacName(m.Name)), name).Output()
	must(t, err)
	if lines := strings.Fields(string(out)); len(lines) != 2 || lines[0] != lines[1] || lines[0] != hex.EncodeToString(m.MAC) {
		t.Errorf("openssl says, and the file says: %s; we %x", out, m.MAC)
	}
}

// The first tape is full before it could take a manifest: the second one's names its parts too, and
// restore.sh reads both, void members left out.
func TestManifestCoversFullTape(t *testing.T) {
	l, ctx := newJournalLife(t), context.Background()
	l.archive(oid(1), map[string]string{"on one": "1", "torn": "good"}, nil, 4<<20, 0)
	big := strings.Repeat("big", 3<<20)
	l.archive(oid(2), map[string]string{"big": big}, nil, 4<<20, 0, 1, 1)
	l.archive(oid(3), map[string]string{"torn": "better"}, map[string]bool{"torn": true}, 4<<20, 1)
	must(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 2, 0, time.Now())) // the end of the tape let its index through
	_, err := l.db.UpdateTape(ctx, l.tapes[0].ID, func(t *catalog.Tape) error { t.State = catalog.TapeFull; return nil })
	must(t, err)
	m := l.manifest(1)
	_, all := l.read(1, m)
	volumes := map[string]int{}
	for _, p := range of[PartRecord](all) {
		volumes[p.Volume]++
	}
	if volumes[volumeA] != 2 || volumes[volumeB] != 3 || len(of[ObjectRecord](all)) != 3 {
		t.Errorf("parts by volume: %v, objects %d", volumes, len(of[ObjectRecord](all)))
	}
	n := 0
	must(t, l.db.Unmanifested(ctx, l.tapes[0].ID, func(*catalog.ManifestPart) error { n++; return nil }))
	if n > 0 {
		t.Errorf("%d parts of the full tape are still without a manifest", n)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS-1")
	check.Dir = l.hands[1].dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v: %s", err, out)
	}
	target := t.TempDir()
	code, stderr := runScript(t, []string{"sh"}, filepath.Join(l.hands[1].dir, "restore.sh"), "--check", l.file, target, l.hands[0].dir, l.hands[1].dir)
	if code != 0 || strings.Contains(stderr, "not in SHA256SUMS") {
		t.Errorf("restore.sh: exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/on one": "1", "src/torn": "good", "src/big": big})
}

// Input that makes no sense is refused before anything lies on the tape.
func TestManifestRefusesBadInput(t *testing.T) {
	l, ctx := newJournalLife(t), context.Background()
	good := Input{DB: l.db, Dir: l.hands[0].dir, Key: l.key, Salt: []byte("saltsalt"), Label: l.hands[0].label, Tape: l.tapes[0], Scratch: t.TempDir()}
	for what, spoil := range map[string]func(*Input){
		"salt":             func(m *Input) { m.Salt = []byte("short") },
		"volume":           func(m *Input) { m.Label.Volume = "../x" },
		"directory":        func(m *Input) { m.Dir += "/none" },
		"scratch":          func(m *Input) { m.Scratch += "/none" },
		"another tape's":   func(m *Input) { m.Previous = catalog.Manifest{Tape: 99, Seq: 1, MAC: make([]byte, 32)} },
		"previous without": func(m *Input) { m.Previous = catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1} },
	} {
		m := good
		spoil(&m)
		if _, _, err := Write(ctx, m); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if left, err := filepath.Glob(filepath.Join(l.hands[0].dir, "tapefs/*/*")); err != nil || len(left) > 0 {
		t.Errorf("refused manifests left %v", left)
	}
	if _, _, err := Write(ctx, good); err != nil {
		t.Errorf("good input: %v", err)
	}
}

func TestTapeLabel(t *testing.T) {
	h := newHandTape(t, volumeA, 7)
	f, err := os.Open(filepath.Join(h.dir, "README.txt"))
	must(t, err)
	defer f.Close()
	got, err := volume.ParseLabel(f)
	want := h.label
	want.Barcode, want.Version = "", ""
	if err != nil || got != want {
		t.Errorf("label %+v, %v; want %+v", got, err, want)
	}
	if err := volume.WriteTapeTexts(h.dir, h.label); !errors.Is(err, os.ErrExist) {
		t.Errorf("written twice: %v", err)
	}
	line := "tapefs-format 1 catalog=ab volume=cd pool=main number=1"
	if l, err := volume.ParseLabel(strings.NewReader(line + " later=word\nmore")); err != nil || l.Pool != "main" || l.Number != 1 {
		t.Errorf("unknown word: %+v, %v", l, err)
	}
	for _, bad := range []string{"", "x", line, "tapefs-format 2 catalog=ab volume=cd pool=main number=1\n", "tapefs-format 1\n", line + " pool=x\n",
		"tapefs-format 1 catalog=ab volume=../x pool=main number=1\n", "tapefs-format 1 catalog=ab volume=cd pool= number=1\n",
		"tapefs-format 1 catalog=ab volume=cd pool=main number=01\n", "tapefs-format 1 catalog=ab volume=cd pool=main number=0\n",
		"tapefs-format 1 catalog=ab volume=cd pool=a\x1b[2J number=1\n", strings.Repeat("x", 5000)} {
		if _, err := volume.ParseLabel(strings.NewReader(bad)); !errors.Is(err, volume.ErrNoLabel) {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
	for _, bad := range []volume.Label{{Catalog: "ab", Volume: "cd", Pool: "a b", Number: 1}, {Catalog: "ab", Volume: "cd\n", Pool: "a", Number: 1}, {Catalog: "ab", Volume: "cd", Pool: "a"}} {
		if err := volume.WriteTapeTexts(t.TempDir(), bad); err == nil {
			t.Errorf("%+v was written", bad)
		}
	}
}

// The worked sizes of FORMAT.md.
func TestFormatWorkedSizes(t *testing.T) {
	many := map[string]string{}
	for i := range 1000 {
		many[fmt.Sprintf("photos/2021/%04d", i)] = strings.Repeat("x", 1000)
	}
	for want, files := range map[int]map[string]string{
		1024:     nil,
		10491392: {"photos/2021/film.mkv": strings.Repeat("x", 10<<20)},
		2564096:  many,
	} {
		if got := len(tarOf(t, files)); got != want {
			t.Errorf("%d files: %d bytes, FORMAT.md says %d", len(files), got, want)
		}
	}
}
