package lab

// PowerCut takes a machine's power away, and what it had not synced with it.
// Healing switches it on.
func PowerCut(m *Machine) Fault {
	return Fault{Name: "cut the power of " + m.name, Break: m.PowerCut, Heal: m.On}
}

// PowerOff shuts a machine down in good order. Healing switches it on.
func PowerOff(m *Machine) Fault {
	return Fault{Name: "shut " + m.name + " down", Break: m.Off, Heal: m.On}
}

// Reboot restarts a machine in good order and waits until it is up.
func Reboot(m *Machine) Fault {
	return Fault{Name: "reboot " + m.name, Break: m.Reboot, Heal: m.On}
}
