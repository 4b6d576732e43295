package etcd

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"cke/internal/cluster"
)

func TestAlarmsAreReadFromAStatus(t *testing.T) {
	for text, want := range map[string]cluster.Alarm{
		"memberID:8630161756594109333 alarm:NOSPACE ":           {Member: 8630161756594109333, Kind: "NOSPACE"},
		"memberID:7  alarm:CORRUPT":                             {Member: 7, Kind: "CORRUPT"},
		"alarm:CORRUPT ":                                        {Kind: "CORRUPT"},
		(&pb.AlarmMember{MemberID: 9, Alarm: 1}).String():       {Member: 9, Kind: "NOSPACE"},
		(&pb.AlarmMember{Alarm: pb.AlarmType_CORRUPT}).String(): {Kind: "CORRUPT"},
	} {
		if got, ok := parseAlarm(text); !ok || got != want {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"etcdserver: no leader", "", "memberID:x alarm:NOSPACE", "memberID:7", "alarm:SMOKE"} {
		if got, ok := parseAlarm(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
