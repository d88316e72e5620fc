package catalog

// The states of this package as they stand in texts of queries, named like the constants for Go. They are part of the text and not
// parameters: only so does SQLite use the partial indexes over them, and a text is made once, by the compiler. TestNoBareStates keeps
// numbers out, and TestStatesInTexts holds each against its constant.
const (
	sqlRoot = "1"

	sqlFile      = "1"
	sqlDirectory = "2"
	sqlSymlink   = "3"

	sqlPlanned   = "0"
	sqlPresent   = "1"
	sqlVoid      = "2"
	sqlForgotten = "3"

	sqlFetching = "0"
	sqlSynced   = "1"
	sqlReleased = "2"

	sqlObjectPlanned    = "0"
	sqlObjectPacked     = "1"
	sqlObjectSuperseded = "2"
	sqlObjectDropped    = "3"

	sqlOwed        = "0"
	sqlWriting     = "1"
	sqlWritten     = "2"
	sqlDurable     = "3"
	sqlCopyDamaged = "4"
	sqlCopyDropped = "5"

	sqlPartWriting   = "0"
	sqlPartWritten   = "1"
	sqlPartDurable   = "2"
	sqlPartAbandoned = "3"
	sqlPartDamaged   = "4"
	sqlPartLost      = "5"

	sqlManifestWritten = "1"
	sqlManifestDurable = "2"
	sqlManifestLost    = "3"
)
