// Package changer drives a tape library: its robot, its drives and the LTFS volumes
// in them, through the programs mtx, mt, mkltfs, ltfs and ltfsck. It imports nothing
// else of tapefs; package virtual below it is a library made of files that answers
// as those same programs.
package changer
