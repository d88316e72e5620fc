package config

// Config is the configuration file. config.yaml.tmpl explains each key.
type Config struct {
	State   string  `yaml:"state"`
	Library Library `yaml:"library"`
	Keys    Keys    `yaml:"keys"`
	// KeyCommand is a program and its arguments whose output is the passphrase of sealed keys.
	KeyCommand []string          `yaml:"key_command"`
	Pools      map[string]Pool   `yaml:"pools"`
	Sources    map[string]Source `yaml:"sources"`
	Spool      Spool             `yaml:"spool"`
	Cache      Cache             `yaml:"cache"`
	Mount      Mount             `yaml:"mount"`
	Recall     Recall            `yaml:"recall"`
	Scrub      Scrub             `yaml:"scrub"`
	// Notify is a program and its arguments, run for what somebody should know.
	Notify []string `yaml:"notify"`
	// MetricsFile is written in Prometheus' text format at the end of runs.
	MetricsFile string `yaml:"metrics_file"`
	Web         Web    `yaml:"web"`
	Tools       Tools  `yaml:"tools"`

	file string // where it was read from
}

// Library is the changer, its drives and the programs that drive them.
type Library struct {
	Changer           string   `yaml:"changer"`
	Drives            []Drive  `yaml:"drives"`
	Flavor            string   `yaml:"flavor" values:"auto,open,openltfs,hpe"`
	Programs          Programs `yaml:"programs"`
	LTFSOptions       []string `yaml:"ltfs_options"`
	EjectBeforeUnload bool     `yaml:"eject_before_unload"`
	MoveTimeout       Period   `yaml:"move_timeout"`
	ReadyTimeout      Period   `yaml:"ready_timeout"`
	MountTimeout      Period   `yaml:"mount_timeout"`
	UnmountTimeout    Period   `yaml:"unmount_timeout"`
	AutoCheck         *bool    `yaml:"auto_check"`
	CheckTimeout      Period   `yaml:"check_timeout"`
	IdleUnmount       Period   `yaml:"idle_unmount"`
}

// Drive is one drive of the library.
type Drive struct {
	Serial  string `yaml:"serial"`
	Element int    `yaml:"element"`
	Device  string `yaml:"device"`
	Tape    string `yaml:"tape"`

	Proved Proved `yaml:"proved"`
}

// Proved is what doctor --fix-config --prove saw of a drive.
type Proved struct {
	Serial  string `yaml:"serial"`
	Element int    `yaml:"element"`
	Node    string `yaml:"node"` // tape node of that day
	Date    string `yaml:"date"` // RFC 3339
}

// Programs are names or paths of the programs to run; empty ones are looked for in $PATH.
type Programs struct {
	Mtx    string `yaml:"mtx"`
	Mt     string `yaml:"mt"`
	Mkltfs string `yaml:"mkltfs"`
	Ltfs   string `yaml:"ltfs"`
	Ltfsck string `yaml:"ltfsck"`
	Lsscsi string `yaml:"lsscsi"`

	SgReadAttr string `yaml:"sg_read_attr"`
	SgLogs     string `yaml:"sg_logs"`
}

// Keys says where the keys lie.
type Keys struct {
	Dir             string `yaml:"dir"`
	AcceptSingleKey bool   `yaml:"accept_single_key"`
}

// Pool is a set of tapes by patterns of barcodes.
type Pool struct {
	Include     []string `yaml:"include"`
	Exclude     []string `yaml:"exclude"`
	FormatBlank bool     `yaml:"format_blank"`
	KeepFree    Size     `yaml:"keep_free"`
	MinBatch    Size     `yaml:"min_batch"`
	MaxAge      Period   `yaml:"max_age"`
	VerifyAfter Share    `yaml:"verify_after_write"`
}

// Source is a place that files come from.
type Source struct {
	URL            string   `yaml:"url"`
	Copies         []string `yaml:"copies"`
	SSH            SSH      `yaml:"ssh"`
	RsyncPath      string   `yaml:"rsync_path"`
	Include        []string `yaml:"include"`
	Exclude        []string `yaml:"exclude"`
	BundleBelow    Size     `yaml:"bundle_below"`
	BundleSize     Size     `yaml:"bundle_size"`
	DedupMin       Size     `yaml:"dedup_min"`
	BandwidthLimit Size     `yaml:"bandwidth_limit"`
	Streams        int      `yaml:"streams"`
	MinAge         Period   `yaml:"min_age"`
	StallTimeout   Period   `yaml:"stall_timeout"`
	OneFileSystem  bool     `yaml:"one_file_system"`
	Inbox          bool     `yaml:"inbox"`
	Keep           Keep     `yaml:"keep"`
}

// Keep says what archive forgets of a source at its end; nil: nothing by that rule.
type Keep struct {
	Versions *int    `yaml:"versions"`
	Vanished *Period `yaml:"vanished"`
}

// Spool is the folder where fetched files wait until they are on tape.
type Spool struct {
	Dir string `yaml:"dir"`
	Max Size   `yaml:"max"`
}

// Cache is the folder of extents that were read from tape.
type Cache struct {
	Dir     string `yaml:"dir"`
	Max     Size   `yaml:"max"`
	Reserve Size   `yaml:"reserve"`
}

// Mount says how the archive is shown.
type Mount struct {
	Owners     string `yaml:"owners" values:"name,number,squash"`
	AllowOther *bool  `yaml:"allow_other"`

	OfflineWait  Period `yaml:"offline_wait"`
	HideVanished bool   `yaml:"hide_vanished"`
}

// Web is for the page: tapefs serve, and mount --listen.
type Web struct {
	Listen     string   `yaml:"listen"`
	TokenFile  string   `yaml:"token_file"`
	Hosts      []string `yaml:"hosts"`
	UserHeader string   `yaml:"user_header"`
	Proxies    []string `yaml:"proxies"`
	RestoreTo  []string `yaml:"restore_to"`
}

// Recall says who may have files brought from tape, and in which order.
type Recall struct {
	Deny       *[]string `yaml:"deny"`
	DenyUIDs   []uint32  `yaml:"deny_uids"`
	MaxWaiting int       `yaml:"max_waiting"`
	Prefetch   *Size     `yaml:"prefetch"`

	UserSlice   Period `yaml:"user_slice"`
	ReaderSlice Period `yaml:"reader_slice"`
	WriterSlice Period `yaml:"writer_slice"`
}

// Scrub is what `verify --due` reads.
type Scrub struct {
	Every  Period `yaml:"every"`
	Budget Size   `yaml:"budget"`
}

// Tools are further programs, and how often tapes are synced.
type Tools struct {
	Rsync     string `yaml:"rsync"`
	SSH       string `yaml:"ssh"`
	SyncBytes Size   `yaml:"sync_bytes"`
	SyncEvery Period `yaml:"sync_every"`
}
