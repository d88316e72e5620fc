package changer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Counters is what a cartridge said of itself when it was last mounted here. Numbers are -1 where it said nothing.
type Counters struct {
	Time          time.Time `json:"time"`
	Drive         string    `json:"drive"`      // serial
	Partitions    string    `json:"partitions"` // "I:a,D:b"
	DataCapacity  int64     `json:"data_capacity"`
	DataFree      int64     `json:"data_free"`
	IndexCapacity int64     `json:"index_capacity"` // bytes, like those above
	IndexFree     int64     `json:"index_free"`

	Loads                int64  `json:"loads"`
	MiBWritten           int64  `json:"mib_written"`
	MiBRead              int64  `json:"mib_read"`
	PermanentWriteErrors int64  `json:"permanent_write_errors"`
	PermanentReadErrors  int64  `json:"permanent_read_errors"`
	RecoveredWriteErrors int64  `json:"recovered_write_errors"`
	RecoveredReadErrors  int64  `json:"recovered_read_errors"`
	Alert                string `json:"alert,omitempty"` // bits of mediaStorageAlert in hex; "" none
}

var counterAttrs = []string{"partitionMap", "mediaDataPartitionTotalCapacity", "mediaDataPartitionAvailableSpace",
	"mediaIndexPartitionTotalCapacity", "mediaIndexPartitionAvailableSpace", "mediaLoads", "mediaMBWritten", "mediaMBRead",
	"mediaPermanentWriteErrors", "mediaPermanentReadErrors", "mediaRecoveredWriteErrors", "mediaRecoveredReadErrors", "mediaStorageAlert"}

// countersOf reads the attributes of a volume's root. Capacities are given there in MiB.
func countersOf(attrs map[string]string) Counters {
	n := func(name string) int64 {
		text, ok := attrs[name]
		if !ok {
			return -1
		}
		return parseCount(text)
	}
	mib := func(name string) int64 {
		if v := n(name); v >= 0 && v < 1<<40 {
			return v << 20
		}
		return -1
	}
	c := Counters{Partitions: attrs["partitionMap"],
		DataCapacity: mib("mediaDataPartitionTotalCapacity"), DataFree: mib("mediaDataPartitionAvailableSpace"),
		IndexCapacity: mib("mediaIndexPartitionTotalCapacity"), IndexFree: mib("mediaIndexPartitionAvailableSpace"),
		Loads: n("mediaLoads"), MiBWritten: n("mediaMBWritten"), MiBRead: n("mediaMBRead"),
		PermanentWriteErrors: n("mediaPermanentWriteErrors"), PermanentReadErrors: n("mediaPermanentReadErrors"),
		RecoveredWriteErrors: n("mediaRecoveredWriteErrors"), RecoveredReadErrors: n("mediaRecoveredReadErrors")}
	if bits := strings.TrimPrefix(attrs["mediaStorageAlert"], "0x"); strings.Trim(bits, "0") != "" {
		c.Alert = attrs["mediaStorageAlert"]
	}
	return c
}

func countersFile(runDir, uuid string) string { return filepath.Join(runDir, "volume."+uuid+".json") }

// note keeps a volume's counters in the run folder for ReadCounters.
func (c Counters) note(runDir, uuid string) error {
	if strings.ContainsAny(uuid, "/\x00") {
		return fmt.Errorf("note the counters of volume %q: that is no UUID", uuid)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return renameio.WriteFile(countersFile(runDir, uuid), append(b, '\n'), 0o600)
}

// ReadCounters gives what a volume said when it was last mounted by a process with this run folder; fs.ErrNotExist when it never was.
func ReadCounters(runDir, uuid string) (c Counters, err error) {
	b, err := os.ReadFile(countersFile(runDir, filepath.Base(uuid)))
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read the counters of volume %s: %w", uuid, err)
	}
	return c, nil
}
