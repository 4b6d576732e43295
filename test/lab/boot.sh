# Runs one machine until it is switched off. Arguments: the machine's directory,
# the image, the machine's control groups, "--", and the command that boots it.
#
# It is started in a mount namespace of its own, and what it mounts is mounted
# nowhere else: it is unmounted by the kernel when the machine is no more, however
# that came about, and nothing else on the box can keep it by having copied the
# box's mounts. nspawn does that: another machine's disk, seen by it, would outlive
# a power cut with all that was to be lost.
set -e
dir=$1 image=$2
shift 2
while [ "$1" != -- ]; do
  echo $$ >"$1/cgroup.procs"
  shift
done
shift
cd "$dir"
mkdir -p disk data root

# What is not synced must be lost in a power cut, so the journal is written as
# seldom as ext4 lets it be.
for d in disk data; do
  [ ! -f $d.img ] || mount -o loop,commit=300 $d.img $d
done
mkdir -p disk/upper disk/work
mount -t overlay overlay -o "lowerdir=$image,upperdir=disk/upper,workdir=disk/work" root
if [ ! -e disk/upper/etc/machine-id ]; then # its first boot
  mkdir -p root/var/lib/cke/etcd
  cp first/* root/etc/
fi
stat -c %d:%i root >>roots # nspawn names its lock so
echo $$ >holder

# 133 is nspawn's way to say that the machine wants to start again.
status=133
while [ $status = 133 ]; do
  status=0
  "$@" </dev/null || status=$?
  echo "nspawn ended with $status"
done
exit $status
