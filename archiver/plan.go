package archiver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"tapefs/catalog"
)

const (
	defaultBundleBelow = 64 << 20 // DESIGN.md, Parts
	defaultBundleSize  = 4 << 30  // DESIGN.md, Parts
	batchBytes         = 8 << 30  // what one rsync fetches; twice this is on its way at once
	batchMembers       = 20000    // held in memory while a batch is planned, fetched or packed
)

// member is what is to be archived at one path.
type member struct {
	catalog.NewVersion
	path  string
	link  string // first of its hard-linked names; "" when it is that or has none
	first bool
}

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
	emit    func(catalog.Batch) error
	stats   *listStats
	links   *sorter // hard-linked names by the first name of their group
	lastMS  int64   // time half of the last object id
	ready   bool    // prepare is done
	stopped bool    // the limit or the end of time was reached

	objects []planned // of the batch being made
	cur     planned   // the bundle that is open
	bytes   int64     // of files in objects and cur
	count   int       // of members in objects and cur
	dirs    map[catalog.ID]dirPlace
}

// planned is an object being made.
type planned struct {
	members []member
	dirs    map[catalog.ID]bool // directories it carries
	size    int64               // upper bound of its sealed bytes
	files   int                 // members that are no directories
}

// dirPlace is where a directory is.
type dirPlace struct {
	parent catalog.ID
	path   string
}

// seen remembers where a directory is, so that its members need not ask the catalog.
func (p *planner) seen(id, parent catalog.ID, path string) {
	if len(p.dirs) > 4*batchMembers {
		clear(p.dirs)
	}
	p.dirs[id] = dirPlace{parent, path}
}

// add plans one file, symlink or, with Existing set, directory entry. Hard-linked names wait
// until all are known. target is the length of a symlink's target, bytes.
func (p *planner) add(ctx context.Context, m member, target int) error {
	if (m.first || m.link != "") && m.Kind == catalog.File {
		group := m.link
		if group == "" {
			group = m.path
		}
		e := listEntry{path: m.path, kind: m.Kind, size: m.Size, mode: m.Mode, uid: m.Owner.UID, gid: m.Owner.GID, mtime: m.MTime.Sec}
		val := binary.AppendUvarint(nil, uint64(m.Parent))
		// No path holds two separators in a row.
		key := append(append(pathKey(group), 0, 0), pathKey(m.path)...)
		return p.links.add(key, e.encode(val))
	}
	return p.addGroup(ctx, []member{m}, target)
}

// finish plans the hard-linked names and records what is left.
func (p *planner) finish(ctx context.Context) error {
	if err := p.links.sort(); err != nil {
		return err
	}
	var group []member
	var name []byte
	for {
		k, v, ok, err := p.links.next()
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
		d := decoder(v)
		parent := catalog.ID(d.uvarint())
		e := decodeEntry(path, d)
		_, base := splitPath(e.path)
		group = append(group, member{path: e.path, NewVersion: catalog.NewVersion{
			Parent: parent, Name: base, Kind: e.kind, Size: e.size, Meta: entryMeta(&e),
		}})
	}
}

func splitPath(p string) (dir, name string) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[:i], p[i+1:]
		}
	}
	return "", p
}

// addGroup plans members that must lie in one object: the bytes are those of the first.
func (p *planner) addGroup(ctx context.Context, ms []member, target int) error {
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
	p.stats.Planned += int64(files)
	p.stats.Bytes += data
	if p.o.DryRun {
		return nil
	}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	if p.count > 0 && (p.bytes+data > p.batch || p.count+len(ms) > batchMembers) {
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
func (p *planner) need(ctx context.Context, o *planned, ms []member, data int64, target int) (int64, error) {
	n := roundUp(data, 512)
	if o.size == 0 {
		n += objectOverhead
	}
	for _, m := range ms {
		n += headerBound(len(m.path)+len(p.src.Name), max(target, len(ms[0].path)))
		chain, err := p.ancestors(ctx, m)
		if err != nil {
			return 0, err
		}
		for _, d := range chain {
			if !o.dirs[d.Existing] {
				n += headerBound(len(d.path)+len(p.src.Name), 0)
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
func (p *planner) ancestors(ctx context.Context, m member) ([]member, error) {
	id := m.Parent
	if m.Existing != 0 {
		d, err := p.place(ctx, m.Existing)
		if err != nil {
			return nil, err
		}
		id = d.parent
	}
	var chain []member
	for id != catalog.Root && id != 0 {
		d, err := p.place(ctx, id)
		if err != nil {
			return nil, err
		}
		chain = append(chain, member{path: d.path, NewVersion: catalog.NewVersion{Existing: id}})
		id = d.parent
	}
	slices.Reverse(chain)
	return chain, nil
}

func (p *planner) place(ctx context.Context, id catalog.ID) (dirPlace, error) {
	if d, ok := p.dirs[id]; ok {
		return d, nil
	}
	v, err := p.a.db.Get(ctx, id)
	if err != nil {
		return dirPlace{}, fmt.Errorf("directory %d: %w", id, err)
	}
	d := dirPlace{parent: v.Parent}
	if v.Parent != catalog.Root {
		up, err := p.place(ctx, v.Parent)
		if err != nil {
			return dirPlace{}, err
		}
		d.path = joinPath(up.path, v.Name)
	}
	p.seen(id, d.parent, d.path)
	return d, nil
}

// put adds members and the directories they are in to an object.
func (p *planner) put(ctx context.Context, o *planned, ms []member, data int64, target int) error {
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
		return nil
	}
	failpoint("plan")
	news := make([]catalog.NewObject, len(p.objects))
	for i, o := range p.objects {
		// A directory's key is a prefix of those of what is in it.
		slices.SortStableFunc(o.members, func(a, b member) int {
			return bytes.Compare(pathKey(a.path), pathKey(b.path))
		})
		oid, err := p.newOID()
		if err != nil {
			return err
		}
		news[i] = catalog.NewObject{OID: oid, Key: p.key, PartSize: p.part, PlannedSize: o.size, Pools: p.pools}
		for _, m := range o.members {
			news[i].Members = append(news[i].Members, m.NewVersion)
		}
	}
	b := catalog.Batch{Run: p.run.ID, Source: p.row.ID, State: catalog.Fetching, Bytes: p.bytes, Dir: p.src.Name + "-" + news[0].OID}
	if p.local != "" {
		b.Dir, b.Local = p.local, true
	}
	b, _, err := p.a.db.PlanBatch(ctx, b, news)
	if err != nil {
		return fmt.Errorf("plan a batch of source %s: %w", p.src.Name, err)
	}
	p.objects, p.bytes, p.count = nil, 0, 0
	failpoint("planned")
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

// newPlanner makes a planner that has asked the catalog nothing yet. In a dry run it records nothing.
func (a *Archiver) newPlanner(run catalog.Run, src Source, at address, row catalog.Source, o Options, work string, emit func(catalog.Batch) error, st *listStats) *planner {
	p := &planner{
		a: a, run: run, src: src, row: row, o: o, emit: emit, stats: st,
		links: &sorter{dir: work}, dirs: map[catalog.ID]dirPlace{}, batch: batchBytes,
		below: src.BundleBelow, bundle: src.BundleSize,
	}
	if at.transport == inPlace {
		p.local = at.path
	}
	if p.below <= 0 {
		p.below = defaultBundleBelow
	}
	if p.bundle <= 0 {
		p.bundle = defaultBundleSize
	}
	return p
}

// prepare asks for what only planning needs, once there is something to plan: a part's size
// may have to be learned from a tape.
func (p *planner) prepare(ctx context.Context) error {
	if p.ready {
		return nil
	}
	for _, name := range p.src.Copies {
		pool, err := p.a.db.EnsurePool(ctx, name)
		if err != nil {
			return fmt.Errorf("pool %s: %w", name, err)
		}
		p.pools = append(p.pools, pool.ID)
	}
	_, key, err := p.a.sealKey(ctx)
	if err != nil {
		return err
	}
	p.key = key.ID
	if p.part, err = p.a.partSize(ctx, p.src.Copies); err != nil {
		return err
	}
	// A bundle is never more than one part; what has no room in one is an object of its own.
	p.bundle = min(p.bundle, p.part)
	p.below = min(p.below, p.bundle/2)
	if p.local == "" {
		limit, err := p.a.spoolMax(ctx)
		if err != nil {
			return err
		}
		p.batch = min(p.batch, max(limit/2, 1))
	}
	last, err := p.a.db.LastOID(ctx)
	if err != nil {
		return err
	}
	if len(last) >= 12 {
		// A clock that was set back must not put new versions before old ones.
		if p.lastMS, err = strconv.ParseInt(last[:12], 16, 64); err != nil {
			return fmt.Errorf("object id %q in the catalog: %w", last, err)
		}
	}
	p.ready = true
	return nil
}

// planSource lists a source, compares it with the catalog and records what is to be archived in
// batches; emit gets each as soon as it is recorded. The stats are good also with an error.
func (a *Archiver) planSource(ctx context.Context, run catalog.Run, src Source, o Options, emit func(catalog.Batch) error) (st listStats, err error) {
	if !sourceName.MatchString(src.Name) {
		return st, fmt.Errorf("source name %q: it takes a-z, 0-9, dots, dashes and underscores, and begins with a letter or digit", src.Name)
	}
	at, err := parseURL(src.URL)
	if err != nil {
		return st, fmt.Errorf("source %s: %w", src.Name, err)
	}
	if len(src.Copies) == 0 {
		return st, fmt.Errorf("source %s: no pool is to take its copies", src.Name)
	}
	row, err := a.sourceRow(ctx, src, o.DryRun)
	if err != nil {
		return st, fmt.Errorf("source %s: %w", src.Name, err)
	}
	work, err := a.workDir(src)
	if err != nil {
		return st, err
	}
	defer removeAll(work, &err)
	p := a.newPlanner(run, src, at, row, o, work, emit, &st)
	defer p.links.close()
	entries := &sorter{dir: work}
	defer entries.close()
	started := time.Now()
	defer func() {
		if run.ID == 0 {
			return
		}
		if countErr := a.db.Count(context.WithoutCancel(ctx), run.ID, src.Name, st.counts()); err == nil {
			err = countErr
		}
	}()
	if err := a.list(ctx, run.ID, src, at, entries, &st); err != nil {
		return st, err
	}
	failpoint("list")
	pending, err := a.fetchingBatches(ctx, row.ID)
	if err != nil {
		return st, err
	}
	if err := entries.sort(); err != nil {
		return st, err
	}
	l, err := newListed(entries)
	if err != nil {
		return st, err
	}
	c := &comparison{
		a: a, db: a.db, run: run.ID, source: src.Name, top: row.Root, whole: !st.Partial, dry: o.DryRun,
		pending: pending, plan: p, stats: &st,
	}
	if err := c.join(ctx, l); err != nil {
		return st, fmt.Errorf("compare source %s: %w", src.Name, err)
	}
	if err := p.finish(ctx); err != nil {
		return st, err
	}
	if st.Metadata > 0 {
		a.log.Info("only mode or owner changed; the archive keeps the old ones", "source", src.Name, "files", st.Metadata)
	}
	if !o.DryRun && !st.Partial {
		return st, a.db.SetListed(ctx, row.ID, started)
	}
	return st, nil
}

// sourceRow is the source in the catalog; in a dry run a new one has the zero ID.
func (a *Archiver) sourceRow(ctx context.Context, src Source, dry bool) (catalog.Source, error) {
	if !dry {
		return a.db.EnsureSource(ctx, src.Name, src.URL)
	}
	all, err := a.db.Sources(ctx)
	for _, s := range all {
		if s.Name == src.Name {
			return s, err
		}
	}
	return catalog.Source{Name: src.Name, URL: src.URL}, err
}

// fetchingBatches says whether a source has batches that are not in the spool yet.
func (a *Archiver) fetchingBatches(ctx context.Context, source int64) (bool, error) {
	open, err := a.db.OpenBatches(ctx)
	for _, b := range open {
		if b.Source == source && b.State == catalog.Fetching {
			return true, err
		}
	}
	return false, err
}
