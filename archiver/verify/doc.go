// Package verify reads back what lies on tape and says whether it is what was written.
//
// The steps of Run, in order:
//
//  1. choose lists the parts that are asked for: all of them, a share drawn at random, those that were not proved for longest. chooseJournal
//     adds the manifests and snapshots that name them or that are due themselves;
//  2. tape by tape and forwards, each part is read through a fresh read-only mount against its recorded sums. With Options.OpenSSL the
//     openssl program opens whole objects on the way, and each file is held against the sum of its content;
//  3. what is right is recorded as verified, what is not as damaged or lost. What could not be read for another reason is neither: a tape
//     that is not in the library is wanted, and trouble of a drive is reported;
//  4. a tape of which everything was proved is suspect no more.
//
// Look says beforehand which tapes Run would read. Written does the same after a run for what that wrote, Unproved for what of a source was
// never read back, and Parts for what replaces something that is to be let go.
//
// It imports job, volume, manifest, catalog and fs/recall. It writes to no tape.
package verify
