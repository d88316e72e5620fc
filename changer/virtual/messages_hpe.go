package virtual

// What HPE's programs say and OpenLTFS's do not. Each of these says nothing for OpenLTFS.

// hpe says a message that only HPE's programs have.
func (m *messages) hpe(format string, a ...any) {
	if m.speech.hpe {
		m.say(format, a...)
	}
}

// earlyWarning is said whenever the drive is asked for an attribute that HP's drives have, and others, as the recorded one, do not:
// an error in every good run.
func (m *messages) earlyWarning() { m.hpe("LTFS20074E Failed to read attribute 0x1500 (-1)") }

// dump is said when a program is done with a tape, whether all went well or not.
func (m *messages) dump() {
	m.hpe("LTFS20076I Triggering drive diagnostic dump")
	m.hpe("LTFS20077W Unable to generate drive dump")
	m.hpe("LTFS20078W Unable to read drive dump")
	m.hpe("LTFS20096I Diagnostic dump complete")
}

// openHPE is said while a device is opened.
func (m *messages) openHPE(l *Library, device string, drive int, why openFailure) {
	switch why {
	case openOK:
		m.say("LTFS20013I Drive type is HP LTO%d, serial number is %s", l.Drives[drive].kind.Generation, l.Drives[drive].Serial)
		return
	case openRemapped:
		m.say("LTFS20032E Error remapping st device %s to sg : Unable to open /proc/scsi/sg/devices", device)
		m.say("LTFS20033E Unable to find matching sg device for %s", device)
	case openInUse:
		m.say("LTFS20035E Unable to lock device (Resource temporarily unavailable)")
	case openRefused:
		m.say("LTFS20085E Drive type is not supported: %s", l.Drives[drive].kind.Product)
	default:
		m.say("LTFS20087E Cannot open device '%s' (2)", device)
	}
	m.say("LTFS12012E Cannot open device: failed backend open call")
}

// endOfTape is what a write that met the end of the tape leaves in the log.
func (m *messages) endOfTape() {
	if !m.speech.hpe {
		m.say("LTFS30222W Received low space warning (early warning) in write.")
		m.say("LTFS11072E Cannot write blocks: failed to write to the medium (-1051).")
		m.say("LTFS11077E Cannot write: failed to write blocks to the medium (-1051).")
		m.say("LTFS13014W Data partition writer: failed to write data to the tape (-1051).")
		return
	}
	m.say("LTFS20048W Received low space warning in write")
	m.say("LTFS20042E EIO in write")
	m.dump()
	m.say("LTFS12045E Cannot write block: backend call failed (-5). Dropping to read-only mode.")
	m.say("LTFS11072E Cannot write blocks: failed to write to the medium (-5)")
	m.say("LTFS11077E Cannot write: failed to write blocks to the medium (-5)")
	m.say("LTFS13014W Data partition writer: failed to write data to the tape (-5)")
	m.say("LTFS11077E Cannot write: failed to write blocks to the medium (-1126)")
	m.say("LTFS13019E Cannot flush: failed to write to data partition (-1126)")
}

// noIndex is said where an index is looked for and none is found.
func (m *messages) noIndex() {
	m.say("LTFS17037E XML parser: failed to read from XML stream.")
	if m.speech.hpe {
		m.say("LTFS17016E Cannot parse index direct from medium")
		m.say("LTFS11194W Cannot read index: failed to read and parse XML data (-1014)")
		return
	}
	m.say("LTFS17016E Cannot parse index direct from medium (-5000).")
	m.say("LTFS11194W Cannot read index: failed to read and parse XML data (-5000).")
}

// needsCheck is said of a volume that does not mount until ltfsck was run.
func (m *messages) needsCheck(ro bool) {
	if !m.speech.hpe {
		m.say("LTFS11024E Cannot mount volume: read index failed on the index partition.")
		m.say("LTFS14013E Cannot mount the volume.")
		m.protection()
		return
	}
	if !ro {
		m.say("LTFS11022I Restoring volume consistency by writing an index to the index partition")
		m.say("LTFS20042E EIO in write")
		m.dump()
		m.say("LTFS12045E Cannot write block: backend call failed (-5). Dropping to read-only mode.")
		m.say("LTFS17061E XML writer: failed to flush cached data to the medium (-5)")
		m.say("LTFS11084E Cannot write index: failed to write a trailing file mark (-1126). The medium is in an inconsistent state; unmount and run ltfsck.")
		m.say("LTFS11326E Cannot write index: failed to flush buffered data (-1126)")
	}
	m.say("LTFS14483I The Data Partition Permanent write error bit is set in MAM ")
	m.noIndex()
	m.say("LTFS17320I Mounting as read-only with the latest index as permanent write error is set in MAM")
	m.noIndex()
	m.say("LTFS17075E Traverse(B): cannot read index (b)")
	m.say("LTFS17079E Traverse: cannot find target generation")
	m.say("LTFS14484E Failed to find a valid index from either partition to do a read-only mount as DPPWE is set in MAM")
}
