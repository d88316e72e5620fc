package changer

import "fmt"

// TapeAlert is a flag that a drive raises to say what is wrong with it or its cartridge: 1 to 64, as numbered by SSC.
type TapeAlert int

// About is what a flag speaks of.
type About int

const (
	AboutNeither  About = iota // of what was done: nothing is worn
	AboutTape                  // of the cartridge
	AboutDrive                 // of the drive
	AboutEither                // of one of them, and the flag alone does not tell of which
	AboutCleaning              // of the drive, which is to be cleaned
)

// alertKind is what is known of a flag. Grave ones say that data is at risk or that the drive cannot go on.
type alertKind struct {
	name  string
	about About
	grave bool
	todo  string
}

const (
	copyAway    = "copy what is on the tape to another one, and retire it"
	otherDrive  = "try the tape in another drive: if it fails there too, it is the tape"
	service     = "have the drive serviced; what it wrote lately is worth a tapefs verify"
	switchOff   = "switch the drive off and on; if it comes back, have it serviced"
	cleanDrive  = "clean the drive: tapefs drive clean"
	newCleaner  = "use another cleaning cartridge"
	coolDrive   = "look after the drive's fans and the temperature around it"
	otherTape   = "use another cartridge"
	checkVolume = "tapefs tape check"
)

// alertKinds has the flags in SSC's words, with what its annex recommends put into the words of this program. Those that are not here
// are reserved, obsolete or of changers.
var alertKinds = map[TapeAlert]alertKind{
	1:  {"read warning", AboutEither, false, otherDrive},
	2:  {"write warning", AboutEither, false, otherDrive},
	3:  {"hard error", AboutEither, false, otherDrive},
	4:  {"media: the tape can no longer be read or written without errors", AboutTape, true, copyAway},
	5:  {"read failure", AboutEither, true, otherDrive},
	6:  {"write failure", AboutEither, true, otherDrive},
	7:  {"media life: the tape has reached the end of its calculated life", AboutTape, true, copyAway},
	8:  {"the cartridge is not of data grade", AboutTape, false, copyAway},
	9:  {"write protect", AboutNeither, false, "slide the cartridge's tab"},
	10: {"the cartridge cannot be taken out while the drive is in use", AboutNeither, false, ""},
	11: {"a cleaning cartridge is in the drive", AboutNeither, false, ""},
	12: {"unsupported format", AboutNeither, false, otherTape},
	13: {"mechanical cartridge failure, recoverable: the tape is snapped or cut", AboutTape, true, "do not load it again; restore what was on it from the other copies"},
	14: {"mechanical cartridge failure: the tape is snapped or cut and in the drive", AboutTape, true, "do not pull it out; call the drive's service"},
	15: {"the memory chip in the cartridge has failed", AboutTape, false, copyAway},
	16: {"the tape was ejected by force", AboutNeither, false, checkVolume},
	17: {"read-only format", AboutNeither, false, otherTape},
	18: {"the tape's directory is corrupt: searching will be slow", AboutTape, false, "reading all of it builds the directory anew: tapefs verify"},
	19: {"the tape is near the end of its calculated life", AboutTape, false, copyAway},
	20: {"the drive has to be cleaned now", AboutCleaning, true, cleanDrive},
	21: {"the drive is due for cleaning", AboutCleaning, false, cleanDrive},
	22: {"the cleaning cartridge is used up", AboutNeither, false, newCleaner},
	23: {"not a cleaning cartridge for this drive", AboutNeither, false, newCleaner},
	24: {"retension is asked for", AboutTape, false, "winding it over helps: tapefs verify"},
	25: {"an interface port of the drive has failed", AboutDrive, false, "look at its cables"},
	26: {"a fan of the drive fails", AboutDrive, false, coolDrive},
	27: {"a power supply of the drive has failed", AboutDrive, false, service},
	28: {"the drive takes too much power", AboutDrive, false, service},
	29: {"the drive is due for maintenance", AboutDrive, false, service},
	30: {"hardware A: the drive is faulty and needs a reset", AboutDrive, true, switchOff},
	31: {"hardware B: the drive is faulty and needs power cycling", AboutDrive, true, switchOff},
	32: {"the interface between host and drive has a problem", AboutDrive, false, "look at cables and host adapter"},
	33: {"the tape has to be ejected", AboutNeither, false, "tapefs tape unload"},
	34: {"an update of the drive's firmware failed", AboutDrive, false, "update its firmware again"},
	35: {"humidity in the drive is out of range", AboutDrive, false, coolDrive},
	36: {"temperature in the drive is out of range", AboutDrive, false, coolDrive},
	37: {"voltage in the drive is out of range", AboutDrive, false, service},
	38: {"the drive predicts that it will fail", AboutDrive, true, service},
	39: {"the drive asks for a diagnostic", AboutDrive, false, service},
	50: {"statistics in the cartridge's memory were lost", AboutTape, false, ""},
	51: {"the tape's directory could not be written at unload", AboutTape, false, "reading all of it builds the directory anew: tapefs verify"},
	52: {"the tape's system area could not be written", AboutTape, true, copyAway},
	53: {"the tape's system area could not be read", AboutTape, true, copyAway},
	54: {"the beginning of data was not found on the tape", AboutTape, true, copyAway},
	55: {"the tape could not be loaded and threaded", AboutEither, true, otherDrive},
	56: {"the tape could not be unloaded", AboutDrive, true, switchOff},
	57: {"the interface between library and drive has failed", AboutDrive, true, service},
	58: {"the drive's firmware has failed", AboutDrive, false, "update its firmware"},
	59: {"write-once tape: its integrity check failed", AboutTape, false, copyAway},
	60: {"write-once tape: it was to be overwritten", AboutNeither, false, ""},
}

func (a TapeAlert) String() string {
	if k, ok := alertKinds[a]; ok {
		return fmt.Sprintf("TapeAlert %d: %s", int(a), k.name)
	}
	return fmt.Sprintf("TapeAlert %d", int(a))
}

// About is what the flag speaks of.
func (a TapeAlert) About() About { return alertKinds[a].about }

// Grave reports whether data is at risk or the drive cannot go on.
func (a TapeAlert) Grave() bool { return alertKinds[a].grave }

// Todo is what a person can do about it, "" when nothing.
func (a TapeAlert) Todo() string { return alertKinds[a].todo }

// Retire reports whether the cartridge should be used no more.
func (a TapeAlert) Retire() bool { return a.About() == AboutTape && a.Todo() == copyAway }

// alertsIn lists the flags that are raised on the TapeAlert page, in order.
func alertsIn(p logPage) (raised []TapeAlert) {
	const flags = 64
	for code := uint16(1); code <= flags; code++ {
		if p.number(code) > 0 && p[code][len(p[code])-1]&1 != 0 {
			raised = append(raised, TapeAlert(code))
		}
	}
	return raised
}
