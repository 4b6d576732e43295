package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

// space reads what is about the room in databases:
//
//	alarm KIND [NODE]
//	db NODE SIZE INUSE [QUOTA]      as in 90MiB
//	history NEWEST COMPACTED [AGE]  how much is kept, and since when
//	usage PREFIX SIZE KEYS          - is no prefix
//	growth SIZE                     a day
//	defrag NODE                     ada asked for it
//	hash NODE HASH COMPACTED | hash NODE away       of its data at revision 9000
//	disk NODE SIZE FREE             of its data, on /srv/etcd
//	window W | nodefrag             of etcd.defrag
func (w *world) space(word string, args []string) error {
	sizes := make([]units.Size, len(args))
	for i, a := range args {
		sizes[i], _ = units.ParseSize(a)
	}
	switch word {
	case "alarm":
		a := cluster.Alarm{Kind: args[0]}
		if len(args) > 1 {
			a.Member = idOf(w.find(cluster.NodeName(args[1])))
		}
		w.st.Etcd.Alarms = append(w.st.Etcd.Alarms, a)
	case "db":
		for i, m := range w.st.Etcd.Members {
			if m.PeerURL != w.find(cluster.NodeName(args[0])).PeerURL() {
				continue
			}
			m.DBSize, m.DBSizeInUse, m.Quota = int64(sizes[1]), int64(sizes[2]), int64(w.spec.Etcd.Quota)
			if len(args) > 3 {
				m.Quota = int64(sizes[3])
			}
			w.st.Etcd.Members[i] = m
		}
	case "quota":
		w.spec.Etcd.Quota = sizes[0]
	case "history":
		c := cluster.Compaction{}
		if len(args) > 2 {
			d, err := time.ParseDuration(args[2])
			if err != nil {
				return err
			}
			c.Since = w.now.Add(-d)
		}
		w.st.Etcd.Compaction = &c
		_, err := fmt.Sscan(args[0]+" "+args[1], &c.Revision, &c.Compacted)
		return err
	case "usage":
		u := cluster.PrefixUsage{Prefix: args[0], Bytes: int64(sizes[1])}
		if u.Prefix == "-" {
			u.Prefix = ""
		}
		w.st.Etcd.Usage = append(w.st.Etcd.Usage, u)
		_, err := fmt.Sscan(args[2], &w.st.Etcd.Usage[len(w.st.Etcd.Usage)-1].Keys)
		return err
	case "growth":
		w.st.Growth = &cluster.Growth{PerDay: float64(sizes[0]), Over: time.Hour}
	case "defrag":
		w.st.Defrag = append(w.st.Defrag, cluster.DefragRequest{Node: cluster.NodeName(args[0]), By: "ada", At: w.now})
	case "differed":
		d, err := time.ParseDuration(args[0])
		w.st.Etcd.DifferedAt = w.now.Add(-d)
		return err
	case "hash":
		h := cluster.MemberHash{Member: idOf(w.find(cluster.NodeName(args[0]))), Revision: 9000}
		if args[1] == "away" {
			h = cluster.MemberHash{Member: h.Member, Err: "hash the data: connection refused"}
		} else if _, err := fmt.Sscanf(args[1]+" "+args[2], "%x %d", &h.Hash, &h.Compacted); err != nil {
			return err
		}
		w.st.Etcd.Hashes = append(w.st.Etcd.Hashes, h)
	case "disk":
		w.edit(args[0], func(ns *cluster.NodeState) {
			ns.Disk = cluster.Disk{Mount: "/srv/etcd", Size: int64(sizes[1]), Free: int64(sizes[2])}
		})
	case "window":
		w.spec.Etcd.Defrag.Window = cluster.Window(args[0] + " " + args[1])
	case "nodefrag":
		no := false
		w.spec.Etcd.Defrag.Enabled = &no
	default:
		return w.kubernetes(word, args)
	}
	return nil
}
