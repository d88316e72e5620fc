package main

import (
	"runtime/debug"
	"testing"
)

func TestBuiltVersion(t *testing.T) {
	for want, info := range map[string]debug.BuildInfo{
		"v1.2.3":                 {Main: debug.Module{Version: "v1.2.3"}},
		"dev-0123456789ab-dirty": {Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}},
		"dev-0123456789ab":       {Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "false"}}},
		"dev":                    {Main: debug.Module{Version: "(devel)"}},
	} {
		if got := builtVersion(&info); got != want {
			t.Errorf("%+v is %s, not %s", info, got, want)
		}
	}
}
