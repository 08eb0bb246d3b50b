#!/bin/sh
# binfmt.sh LOCKS EMULATORS PREFIX: have the kernel start ARM programs by QEMU, for as long as our stdin is open.
#
# Whoever started us holds stdin's other end, so the kernel tells us even when they are killed. The registration is the
# machine's, not ours alone: the last lab that leaves removes it. `users` is locked by all who need it, `lock` by whoever
# is changing it.
set -eu
locks=$1 emulators=$2 prefix=$3 folder=/proc/sys/fs/binfmt_misc
exec 8>"$locks/binfmt.lock" 9>"$locks/binfmt.users"

# register NAME CLASS MACHINE: ELF files of this class (1: 32 bits, 2: 64) and machine number, little-endian.
# F: the emulator is opened now, so it need not be in the roots of the devices.
register() {
  rest='\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00'
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  [ -e "$folder/$prefix-$1" ] ||
    printf '%s' ":$prefix-$1:M::\\x7fELF\\x0$2\\x01\\x01$rest\\x$3\\x00:$mask:$emulators/qemu-$1-static:F" > "$folder/register"
}

flock -x 8
flock -s 9
mount -t binfmt_misc binfmt_misc "$folder" # in a mount namespace of our own
register aarch64 2 b7
register arm 1 28
flock -u 8
echo ready

cat > /dev/null
flock -x 8
if flock -n -x 9; then
  for entry in "$folder/$prefix"-*; do echo -1 > "$entry"; done
fi
