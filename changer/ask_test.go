package changer

import "testing"

func TestParseLsscsi(t *testing.T) {
	nodes := parseLsscsi(`[0:0:0:0]    tape    HP       Ultrium 5-SCSI   Z51U  /dev/st0   /dev/sg4 
[0:0:0:1]    mediumx TANDBERG StorageLoader    0495  /dev/sch0  /dev/sg5 
[1:0:0:0]    disk    ATA      SAMSUNG MZ7L3480 404Q  /dev/sda   /dev/sg0 
[2:0:0:0]    mediumx IBM      03584L32         0108  -          /dev/sg2 

nonsense
`)
	want := []Node{
		{"0:0:0:0", "tape", "HP Ultrium 5-SCSI Z51U", "/dev/st0", "/dev/sg4"},
		{"0:0:0:1", "mediumx", "TANDBERG StorageLoader 0495", "/dev/sch0", "/dev/sg5"},
		{"1:0:0:0", "disk", "ATA SAMSUNG MZ7L3480 404Q", "/dev/sda", "/dev/sg0"},
		{"2:0:0:0", "mediumx", "IBM 03584L32 0108", "-", "/dev/sg2"},
	}
	if len(nodes) != len(want) {
		t.Fatalf("%d nodes: %+v", len(nodes), nodes)
	}
	for i := range want {
		if nodes[i] != want[i] {
			t.Errorf("node %d: %+v, want %+v", i, nodes[i], want[i])
		}
	}
	if nodes = parseLsscsi(recorded(t, "hp-lsscsi").stdout); len(nodes) != 2 || nodes[0] != want[0] || nodes[1] != want[1] {
		t.Errorf("recorded: %+v", nodes)
	}
	nodes = parseLsscsi(recorded(t, "lsscsi-g").stdout)
	if len(nodes) != 4 || nodes[1] != (Node{"2:0:0:0", "mediumx", "IBM 03584L32 0108", "/dev/sch0", "/dev/sg2"}) || nodes[3].Primary != "/dev/st1" {
		t.Errorf("recorded: %+v", nodes)
	}
}
