// Package fs is the FUSE face over the catalog: it answers the kernel and nothing
// else. It never touches a tape, and never imports archiver.
package fs
