// Package virtual is a tape library in a directory: the programs mtx, mt, mkltfs,
// ltfs, ltfsck and lsscsi over cartridges that are directories. tapefs drives it as
// it drives a real one, by configuration alone. It knows nothing else of tapefs and
// imports of it the table of LTO tapes and drives alone, package lto.
//
// The directory of a library:
//
//	bin/          scripts under the names of the programs
//	dev/          files that stand for device nodes: sg0 the changer, sg1… the drives, nst0… their tape nodes
//	library.json  where every cartridge is; replaced at once, under lock
//	faults.json   faults in force, read again at every step
//	log.jsonl     what drives and robot did, and when by the virtual clock
//	drives/       N.lock held and N.log written by who has drive N open, N.clock
//	tapes/ID/     a cartridge: meta.json, index.json, position, and its files under their names in files/
//
// index.json is replaced only when LTFS would have written an index: at a sync, every
// five minutes, after umount. A mount shows what it lists, at its sizes. position is the
// append point: space of data that no index tells of any more is not regained.
//
// The LTFS programs are those of OpenLTFS or of HPE, as the library was made; speech says
// what each family does in its own way, and the faults are the same for both.
//
// How the real programs behave was recorded; tests compare with testdata/transcripts.
// Beyond the recordings: cleaning takes no time, names are not normalised to NFC,
// ltfsck -f does not gather lost blocks, and HPE's ltfs does not hang when it is synced
// again and again with sync_type=time.
package virtual
