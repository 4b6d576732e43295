package cluster

import "cke/internal/units"

// Defrag says when members are defragmented as a matter of routine: once enough
// of a database is free that only defragmenting gives back to the file system.
type Defrag struct {
	// Enabled nil means yes.
	Enabled *bool `json:"enabled,omitempty" yaml:"enabled,omitempty"`
	// FreeRatio is the part of the database that must be free.
	FreeRatio units.Percent `json:"free_ratio,omitzero" yaml:"free_ratio,omitempty"`
	MinFree   units.Size    `json:"min_free,omitzero" yaml:"min_free,omitempty"`
	Window    Window        `json:"window,omitempty" yaml:"window,omitempty"`
}

// What routine defragmentation waits for where the spec says nothing.
const (
	DefaultFreeRatio units.Percent = 45
	DefaultMinFree   units.Size    = 100 << 20
)

// IsEnabled says whether there is any routine.
func (d Defrag) IsEnabled() bool { return d.Enabled == nil || *d.Enabled }

func (d Defrag) withDefaults() Defrag {
	if d.FreeRatio == 0 {
		d.FreeRatio = DefaultFreeRatio
	}
	if d.MinFree == 0 {
		d.MinFree = DefaultMinFree
	}
	return d
}

func (d Defrag) validate(ps *problems) {
	if d.FreeRatio < 10 || d.FreeRatio > 90 {
		ps.add("etcd.defrag.free_ratio", "free_ratio %s is not between 10%% and 90%%", d.FreeRatio)
	}
	if d.MinFree < 0 {
		ps.add("etcd.defrag.min_free", "min_free %s is not positive", d.MinFree)
	}
	if err := d.Window.Check(); err != nil {
		ps.add("etcd.defrag.window", "window %s", err)
	}
}
