package archiver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/archiver/diff"
	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

const (
	defaultBundleBelow = 64 << 20  // docs/design.md, the way to tape
	defaultBundleSize  = 4 << 30   // docs/design.md, the way to tape
	batchBytes         = 8 << 30   // what one rsync fetches; twice this is on its way at once
	firstBatch         = 256 << 20 // the first batches are small, each twice the one before: writing begins early
	batchMembers       = 20000     // held in memory while a batch is planned, fetched or packed
)

// planner cuts what is to be archived into objects and batches, and records them.
type planner struct {
	a       *Archiver
	run     catalog.Run
	src     Source
	local   string // absolute top of a source that is read in place; "" for others
	row     catalog.Source
	o       Options
	pools   []int64
	key     int64
	part    int64 // part size, bytes
	below   int64 // files of at least this size are objects of their own
	bundle  int64 // upper bound of a bundle's sealed bytes
	batch   int64 // upper bound of a batch's file bytes
	grown   int64 // that of the one in hand
	emit    func(catalog.Batch) error
	stats   *source.Stats
	book    *diff.Book
	links   *extsort.Sorter // hard-linked names by the first name of their group
	lastMS  int64           // time half of the last object id
	ready   bool            // prepare is done
	has     int64           // what an empty spool could hold, bytes; 0: not asked yet
	stopped bool            // the limit or the end of time was reached

	objects []planned // of the batch being made
	cur     planned   // the bundle that is open
	bytes   int64     // of files in objects and cur
	count   int       // of members in objects and cur
	dirs    map[catalog.ID]dirPlace
}

// planned is an object being made.
type planned struct {
	members []diff.Member
	dirs    map[catalog.ID]bool // directories it carries
	size    int64               // upper bound of its sealed bytes
	files   int                 // members that are no directories
	in      catalog.ID          // the directory of its members, when all lie in one
	mixed   bool                // they do not
}

// dirPlace is where a directory is.
type dirPlace struct {
	parent catalog.ID
	path   string
}

// Seen remembers where a directory is, so that its members need not ask the catalog.
func (p *planner) Seen(id, parent catalog.ID, path string) {
	if len(p.dirs) > 4*batchMembers {
		clear(p.dirs)
	}
	p.dirs[id] = dirPlace{parent, path}
}

// Add plans one file, symlink or, with Existing set, directory entry. Hard-linked names wait
// until all are known. target is the length of a symlink's target, bytes.
func (p *planner) Add(ctx context.Context, m diff.Member, target int) error {
	if (m.First || m.Link != "") && m.Kind == catalog.File {
		group := m.Link
		if group == "" {
			group = m.Path
		}
		e := source.Entry{Path: m.Path, Kind: m.Kind, Size: m.Size, Mode: m.Mode, Uid: m.Owner.UID, Gid: m.Owner.GID, Mtime: m.MTime.Sec,
			Exact: true, Nsec: m.MTime.Nsec}
		val := binary.AppendVarint(nil, int64(m.Parent)) // a stand-in is below 0
		// No path holds two separators in a row.
		key := append(append(source.PathKey(group), 0, 0), source.PathKey(m.Path)...)
		return p.links.Add(key, e.Encode(val))
	}
	return p.addGroup(ctx, []diff.Member{m}, target)
}

// finish plans the hard-linked names and records what is left.
func (p *planner) finish(ctx context.Context) error {
	if err := p.links.Sort(); err != nil {
		return err
	}
	var group []diff.Member
	var name []byte
	for {
		k, v, ok, err := p.links.Next()
		if err != nil {
			return err
		}
		var leader, path []byte
		if ok {
			leader, path, _ = bytes.Cut(k, []byte{0, 0})
		}
		if len(group) > 0 && (!ok || !bytes.Equal(leader, name) || len(group) >= batchMembers) {
			if err := p.addGroup(ctx, group, 0); err != nil {
				return err
			}
			group = nil
		}
		if !ok {
			return p.flush(ctx)
		}
		name = append(name[:0], leader...)
		d := source.Decoder(v)
		parent := catalog.ID(d.Varint())
		e := source.DecodeEntry(path, d)
		_, base := localfs.SplitPath(e.Path)
		group = append(group, diff.Member{Path: e.Path, NewVersion: catalog.NewVersion{
			Parent: parent, Name: base, Kind: e.Kind, Size: e.Size, Meta: diff.EntryMeta(&e),
		}})
	}
}

// addGroup plans members that must lie in one object: the bytes are those of the first.
func (p *planner) addGroup(ctx context.Context, ms []diff.Member, target int) error {
	data := int64(0)
	if ms[0].Existing == 0 && ms[0].Kind == catalog.File {
		data = ms[0].Size
	}
	if !p.stopped && (p.o.Limit > 0 && p.stats.Bytes+data > p.o.Limit || !p.o.Until.IsZero() && time.Now().After(p.o.Until)) {
		p.stopped = true
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	files := 0
	for _, m := range ms {
		if m.Existing == 0 {
			files++
		}
	}
	if p.stopped {
		p.stats.Left += int64(files)
		return nil
	}
	if p.local == "" && data > 0 {
		why, err := p.tooLarge(ctx, data)
		if err != nil {
			return err
		}
		if why != nil {
			for _, m := range ms {
				p.stats.TooLarge++
				if err := p.a.env.RunError(ctx, p.run.ID, p.src.Name, m.Path, "not archived: "+why.Error()); err != nil {
					return err
				}
			}
			return nil
		}
	}
	p.stats.Planned += int64(files)
	p.stats.Bytes += data
	if p.o.DryRun {
		for _, m := range ms {
			if m.Existing == 0 {
				p.a.env.Log.Debug("would archive", "source", p.src.Name, "path", m.Path, "bytes", m.Size)
			}
		}
		return nil
	}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	if p.count > 0 && (p.bytes+data > p.grown || p.count+len(ms) > batchMembers) {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	o := &planned{}
	alone, err := p.need(ctx, o, ms, data, target)
	if err != nil {
		return err
	}
	if data < p.below && alone <= p.bundle {
		need, err := p.need(ctx, &p.cur, ms, data, target)
		if err != nil {
			return err
		}
		if p.cur.size+need > p.bundle {
			p.close()
		}
		o = &p.cur
	} else if len(p.cur.members) > 0 && (p.cur.mixed || p.cur.in != ms[0].Parent) {
		// What lies on tape is to follow the tree, so that a folder that is copied back is read forwards. Within one
		// directory the order of ids is made to follow the tape instead.
		p.close()
	}
	if err := p.put(ctx, o, ms, data, target); err != nil {
		return err
	}
	p.bytes += data
	if o != &p.cur {
		p.objects = append(p.objects, *o)
	}
	return nil
}

// need is an upper bound of the bytes that members add to an object.
func (p *planner) need(ctx context.Context, o *planned, ms []diff.Member, data int64, target int) (int64, error) {
	n := roundUp(data, 512)
	if o.size == 0 {
		n += objectOverhead
	}
	for _, m := range ms {
		n += headerBound(len(m.Path)+len(p.src.Name), max(target, len(ms[0].Path)))
		chain, err := p.ancestors(ctx, m)
		if err != nil {
			return 0, err
		}
		for _, d := range chain {
			if !o.dirs[d.Existing] {
				n += headerBound(len(d.Path)+len(p.src.Name), 0)
			}
		}
	}
	return n, nil
}

// objectOverhead: the container's head of 16 bytes and a tar's end, to a whole record.
const objectOverhead = 16 + 1024 + 10240

// headerBound is more than a tar header with its PAX records takes: a header and a body for the
// records, which hold the name, a link's target and the owner's names (each perhaps escaped to
// three times its length, beside a readable stand-in), and the header proper.
func headerBound(path, target int) int64 {
	return 2*512 + roundUp(int64(4*(path+target)+1536), 512)
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// ancestors are the entries of the directories a member is in, the source's top first.
func (p *planner) ancestors(ctx context.Context, m diff.Member) ([]diff.Member, error) {
	id := m.Parent
	if m.Existing != 0 {
		d, err := p.place(ctx, m.Existing)
		if err != nil {
			return nil, err
		}
		id = d.parent
	}
	var chain []diff.Member
	for id != catalog.Root && id != 0 {
		d, err := p.place(ctx, id)
		if err != nil {
			return nil, err
		}
		chain = append(chain, diff.Member{Path: d.path, NewVersion: catalog.NewVersion{Existing: id}})
		id = d.parent
	}
	slices.Reverse(chain)
	return chain, nil
}

func (p *planner) place(ctx context.Context, id catalog.ID) (dirPlace, error) {
	if d, ok := p.dirs[id]; ok {
		return d, nil
	}
	if p.book.ID(id) < 0 {
		if err := p.book.Flush(ctx); err != nil {
			return dirPlace{}, err
		}
	}
	v, err := p.a.env.DB.Get(ctx, p.book.ID(id))
	if err != nil {
		return dirPlace{}, fmt.Errorf("directory %d: %w", id, err)
	}
	d := dirPlace{parent: v.Parent}
	if v.Parent != catalog.Root {
		up, err := p.place(ctx, v.Parent)
		if err != nil {
			return dirPlace{}, err
		}
		d.path = localfs.JoinPath(up.path, v.Name)
	}
	p.Seen(id, d.parent, d.path)
	return d, nil
}

// put adds members and the directories they are in to an object.
func (p *planner) put(ctx context.Context, o *planned, ms []diff.Member, data int64, target int) error {
	need, err := p.need(ctx, o, ms, data, target)
	if err != nil {
		return err
	}
	if o.dirs == nil {
		o.dirs = map[catalog.ID]bool{}
	}
	for _, m := range ms {
		chain, err := p.ancestors(ctx, m)
		if err != nil {
			return err
		}
		for _, d := range append(chain, m) {
			if d.Existing != 0 {
				if o.dirs[d.Existing] {
					continue
				}
				o.dirs[d.Existing] = true
			} else {
				o.files++
			}
			o.members = append(o.members, d)
			p.count++
		}
		in := m.Parent
		if m.Existing != 0 {
			in = m.Existing
		}
		if o.in == 0 {
			o.in = in
		}
		o.mixed = o.mixed || o.in != in
	}
	o.size += need
	return nil
}

// close ends the open bundle.
func (p *planner) close() {
	if len(p.cur.members) > 0 {
		p.objects = append(p.objects, p.cur)
	}
	p.cur = planned{}
}

// flush records a batch of what was planned and hands it on.
func (p *planner) flush(ctx context.Context) error {
	p.close()
	if len(p.objects) == 0 {
		return p.book.Flush(ctx)
	}
	job.Failpoint("plan")
	news := make([]catalog.NewObject, len(p.objects))
	for i, o := range p.objects {
		// A directory's key is a prefix of those of what is in it.
		slices.SortStableFunc(o.members, func(a, b diff.Member) int {
			return bytes.Compare(source.PathKey(a.Path), source.PathKey(b.Path))
		})
		carried := catalog.ID(0) // the directory before this member
		oid, err := p.newOID()
		if err != nil {
			return err
		}
		news[i] = catalog.NewObject{OID: oid, Key: p.key, PartSize: p.part, PlannedSize: o.size, Pools: p.pools}
		for _, m := range o.members {
			m.Parent, m.Existing = p.book.Place(m.Parent), p.book.Place(m.Existing)
			if m.Existing != 0 && m.Existing == carried {
				continue // known by its stand-in and by its id
			}
			carried = m.Existing
			news[i].Members = append(news[i].Members, m.NewVersion)
		}
	}
	b := catalog.Batch{Run: p.run.ID, Source: p.row.ID, State: catalog.Fetching, Bytes: p.bytes, Dir: p.src.Name + "-" + news[0].OID}
	if p.local != "" {
		b.Dir, b.Local = p.local, true
	}
	b, ids, err := p.a.env.DB.AddBatch(ctx, b, p.book.Pending, news)
	if err != nil {
		return fmt.Errorf("plan a batch of source %s: %w", p.src.Name, err)
	}
	p.book.Recorded(ids)
	if !b.Local {
		p.a.env.Flow.Planned.Add(b.Bytes)
	}
	p.objects, p.bytes, p.count = nil, 0, 0
	p.grown = min(2*p.grown, p.batch)
	job.Failpoint("planned")
	return p.emit(b)
}

// newOID is 12 hex digits of Unix milliseconds, later than any before, and 20 random ones.
func (p *planner) newOID() (string, error) {
	p.lastMS = max(time.Now().UnixMilli(), p.lastMS+1)
	var r [10]byte
	if _, err := rand.Read(r[:]); err != nil {
		return "", fmt.Errorf("draw an object id: %w", err)
	}
	return fmt.Sprintf("%012x", p.lastMS) + hex.EncodeToString(r[:]), nil
}
