// Package motion knows how a tape moves: where its bytes lie along its length, and how long a locate takes.
//
// A tape is written in wraps, there and back along its whole length, so bytes that are far apart may lie close together. Where
// one wrap ends and the next one begins follows from the tape's capacity, which is known to a percent at best: over 200 wraps
// that error grows to twice the tape's length. So the layout is learned. A Learner is given what locates took, by tape. It
// tries layouts around the nominal one and keeps the one under which a few costs (of any locate, of the way along the
// length, of a change of wrap, direction or band) explain the times best. Costs hold for all tapes of a format, so a tape that
// was never read needs a handful of locates, and one that was read before needs none.
//
// A Model that was learned predicts what a locate takes, and Tour orders places so that the whole way is short.
//
// It imports nothing of tapefs.
package motion
