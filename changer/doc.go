// Package changer drives a tape library: its robot, its drives and the LTFS volumes
// in them, through the programs mtx, mt, mkltfs, ltfs and ltfsck. It imports nothing
// else of tapefs but package lto below it, the table of LTO tapes and drives. Package
// virtual below it is a library made of files that answers as those same programs.
package changer
