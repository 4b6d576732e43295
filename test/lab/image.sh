#!/bin/sh
# Makes the root file system that all machines share as the lower layer of their
# overlay. Arguments: where to put it, the Debian mirror, the public key that
# logs in. The image is named after a hash of this file and of the key.
set -eu
root=$1 mirror=$2 key=$3

# systemd-sysv is /sbin/init, procps and nftables are for those who look around
# in a machine. libpam-systemd is left out: it makes every login a session of
# logind, which costs 100 ms and is of no use here.
mmdebstrap --quiet --variant=minbase \
  --include=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,iputils-ping,procps,nftables,ca-certificates \
  bookworm "$root" "$mirror"

# The three ways in that CKE supports: root, an administrator who may do
# everything through sudo, and a user who may start the helper and nothing else.
chroot "$root" useradd --create-home --shell /bin/bash ops
chroot "$root" useradd --create-home --shell /bin/bash cke
for user in root ops cke; do
  home=/home/$user
  [ "$user" != root ] || home=/root
  chroot "$root" install -d -m 0700 -o "$user" -g "$user" "$home/.ssh"
  install -m 0600 "$key" "$root$home/.ssh/authorized_keys"
  chroot "$root" chown "$user:$user" "$home/.ssh/authorized_keys"
done
# SKEW_SEC shifts the clock of programs that were built for it (BuildSkewable).
cat >"$root/etc/sudoers.d/lab" <<'EOF'
Defaults env_keep += "SKEW_SEC"
ops ALL=(ALL) NOPASSWD: ALL
cke ALL=(root) NOPASSWD: /usr/local/bin/cke-host serve
EOF
chmod 0440 "$root/etc/sudoers.d/lab"

# Every machine makes its own identity at its first boot: host keys, machine id.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'EOF'
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
EOF
cat >"$root/etc/systemd/system/lab-host-key.service" <<'EOF'
[Unit]
Description=Make this machine's SSH host key
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
EOF
chroot "$root" systemctl --quiet enable lab-host-key.service
chroot "$root" systemctl --quiet set-default multi-user.target
mkdir -p "$root/var/log/journal" # the journal survives a reboot

# What slows the boot, or cannot work without hardware or a console.
for unit in systemd-sysctl.service console-getty.service getty@.service getty.target \
  systemd-logind.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
