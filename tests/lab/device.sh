#!/bin/sh
# device.sh STATE LAYERS NAME CPUINFO DISK_BYTES "DIRECTORIES": the first process of a device, in namespaces of its own.
#
# The device's root is STATE/root: read-only LAYERS (lower:lower) under a tmpfs, so what a device writes dies with its
# namespace. DIRECTORIES lie on one small disk of DISK_BYTES, which tests can fill. Lives until its stdin is closed, by
# the test run's end or death; with the first process of a PID namespace, the kernel ends all others in it.
set -eu
state=$1 layers=$2 name=$3 cpuinfo=$4 disk_bytes=$5 directories=$6 root=$1/root

mount -t tmpfs -o size=2g,mode=755 edgesmith-lab "$state"
mkdir "$root" "$state/upper" "$state/work" "$state/disk"
mount -t overlay -o "lowerdir=$layers,upperdir=$state/upper,workdir=$state/work" edgesmith-lab "$root"

mount -t tmpfs -o "size=$disk_bytes,mode=755" edgesmith-lab-disk "$state/disk"
for directory in $directories; do
  cp -a "$root/$directory" "$state/disk/"
  mount --bind "$state/disk/$directory" "$root/$directory"
done

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$cpuinfo" "$root/proc/cpuinfo"
mount -t tmpfs -o size=1m,mode=755 edgesmith-lab-dev "$root/dev"
for node in null zero full random urandom tty; do
  : > "$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o size=256m,mode=1777 edgesmith-lab-shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

hostname "$name"
echo ready
trap '' CHLD # orphans come to the first process; ignoring this, it need not wait for them
exec cat > /dev/null
