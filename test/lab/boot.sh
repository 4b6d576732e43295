# Runs one machine until it is switched off. Arguments: the directory of all
# machines, this machine's name, its control groups, "--", and the command that
# boots it. It is started in a mount namespace of its own.
run=$1 name=$2
shift 2
while [ "$1" != -- ]; do
  echo $$ >"$1/cgroup.procs" || exit 1
  shift
done
shift

# nspawn keeps every mount that was there when it started for as long as it runs,
# under the root it hides. Were the other machines' disks among them, a power cut
# of theirs would not really unmount them.
while read -r _ _ _ _ at _; do
  case $at in
    "$run/$name"/*) ;;
    "$run"/*) umount -l "$at" ;;
  esac
done </proc/self/mountinfo

# 133 is nspawn's way to say that the machine wants to start again.
status=133
while [ $status = 133 ]; do
  "$@" </dev/null
  status=$?
  echo "nspawn ended with $status"
done
exit $status
