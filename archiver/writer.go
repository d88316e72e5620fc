package archiver

import (
	"maps"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// task is the run that a writer and its parts work for.
type task struct {
	a       *Archiver
	run     catalog.Run
	sources map[int64]Source // whose locks this run holds
	noted   *job.Problems    // safe for concurrent use
}

// writer writes owed copies to tapes. It schedules: which pool is written next and from what, what other drives write meanwhile, when all
// is synced and when drives are given up. What it has in hand is kept by its parts, of which none but followers knows it:
//
//	session     one drive, and the tape that is mounted in it
//	tapes       tapes chosen, mounted, synced and closed; what is durable by that. It has a journal, of the manifests and snapshots that
//	            the mounted tape is owed, and a prover, which reads back what earlier sessions left
//	stock       batches and objects in the spool
//	debts       what pools are owed
//	objects     objects from the spool to the mounted tape
//	copier      copies that only another copy can give
//	followers   what other drives write meanwhile
//	known       what the run learned and will not try again
//	progress    what people see
//
// Only the writer's own goroutine uses it and them; other goroutines have its mailbox.
type writer struct {
	*task
	mail      *mailbox
	known     *ledger
	progress  *progress
	lock      *writerLock
	session   *session
	stock     *stock
	tapes     *tapeWriter
	debts     *debts
	objects   *objectWriter
	copier    *copier
	followers *followers

	now    bool                     // write however little is owed
	rested bool                     // it stood down for silent sources, and nothing came since
	letGo  func(source string) bool // gives up the lock of a source that nothing more comes of; nil: they are not its to give
}

func (a *Archiver) newWriter(run catalog.Run, sources map[int64]Source, o Options, noted *job.Problems) *writer {
	t := &task{a: a, run: run, sources: sources, noted: noted}
	w := &writer{task: t, now: o.Now, mail: newMailbox(), known: newLedger(), progress: &progress{env: a.env, stage: "write"}, lock: &writerLock{env: a.env}}
	w.followers = &followers{task: t, lead: w, byPool: map[string]*follower{}}
	w.session = &session{env: a.env, noted: noted, peers: newPeers(), freeDrives: w.followers.freeDrives}
	w.stock = &stock{task: t, known: w.known, losses: &spoolLosses{}}
	w.tapes = &tapeWriter{task: t, session: w.session, stock: w.stock, lock: w.lock,
		journal: &journal{env: a.env, session: w.session}, prover: &prover{env: a.env, session: w.session},
		mail: w.mail, known: w.known, progress: w.progress, dismiss: w.followers.dismissPool}
	w.debts = &debts{task: t, known: w.known, until: o.Until, names: o.Names}
	w.objects = &objectWriter{task: t, session: w.session, stock: w.stock, tapes: w.tapes, progress: w.progress, followers: w.followers}
	w.copier = &copier{task: t, known: w.known, debts: w.debts, lock: w.lock, session: w.session, tapes: w.tapes, followers: w.followers}
	return w
}

// becomeFollower makes it the writer of a follower, whose drive and tape its leader's other writers know of.
func (w *writer) becomeFollower(lead *writer, pool string) {
	w.tapes.follows = true
	w.lock.unlock = func() {} // the leader holds the lock for both
	w.session.peers = lead.session.peers
	w.stock.losses = lead.stock.losses
	w.progress.stage = "write " + pool
	maps.Copy(w.known.tried, lead.known.tried)
}
