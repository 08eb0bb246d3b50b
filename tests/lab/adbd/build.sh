#!/usr/bin/env bash
# build.sh SOURCE OUT: compile AOSP's adbd for arm64 from Debian's source package android-platform-tools 29.0.6.
#
# SOURCE holds the package's archives. Runs in a root that has the cross compiler and Debian's libraries of arm64.
set -euo pipefail
source=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd) tree=$1/tree core=$1/tree/system/core

mkdir "$tree"
tar -xzf "$source"/*.orig.tar.gz -C "$tree" --strip-components=1 --wildcards '*/system/core' '*/frameworks/native/libs/adbd_auth'
tar -xJf "$source"/*.debian.tar.xz -C "$source"
# Debian's own patches touch much more than adbd; those to files that were not unpacked fail, and are not needed.
while read -r name; do
  case $name in
    system/core/*adb* | system/core/Nonnull.patch | system/core/Added-missing-headers.patch | \
      system/core/fix-attribute-issue-with-gcc.patch | system/core/fix-gettid-exception-declaration.patch | \
      system/core/hard-code-build-number.patch | system/core/move-log-file-to-proper-dir.patch | \
      system/core/stdatomic.patch | system/core/fix-standard-namespace-errors.patch | cve/*)
      patch -d "$tree" -p1 --quiet --force < "$source/debian/patches/$name" ;;
  esac
done < "$source/debian/patches/series"
patch -d "$tree" -p1 --quiet < "$here/loopback.patch"

files="adb/adb.cpp adb/adb_io.cpp adb/adb_listeners.cpp adb/adb_trace.cpp adb/adb_unique_fd.cpp adb/adb_utils.cpp
adb/fdevent/fdevent.cpp adb/fdevent/fdevent_poll.cpp adb/fdevent/fdevent_epoll.cpp adb/services.cpp adb/sockets.cpp
adb/socket_spec.cpp adb/sysdeps/errno.cpp adb/transport.cpp adb/transport_fd.cpp adb/transport_local.cpp
adb/transport_usb.cpp adb/types.cpp adb/sysdeps_unix.cpp adb/sysdeps/posix/network.cpp adb/daemon/auth.cpp
adb/daemon/jdwp_service.cpp adb/daemon/usb_dummy.cpp adb/daemon/file_sync_service.cpp adb/daemon/services.cpp
adb/daemon/shell_service.cpp adb/shell_service_protocol.cpp adb/daemon/main.cpp diagnose_usb/diagnose_usb.cpp
libasyncio/AsyncIO.cpp adb/adbconnection/adbconnection_server.cpp libcrypto_utils/android_pubkey.c
../../frameworks/native/libs/adbd_auth/adbd_auth.cpp"

includes=""
for folder in adb adb/daemon/include base/include diagnose_usb/include include libcrypto_utils/include libcutils/include \
  libasyncio/include adb/adbconnection/include liblog/include ../../frameworks/native/libs/adbd_auth/include; do
  includes="$includes -I$core/$folder"
done
flags="-O1 -D_GNU_SOURCE -DADB_HOST=0 -DALLOW_ADBD_NO_AUTH=1 -include $here/shim.h $includes -I/usr/include/android"
flags="$flags -DADB_VERSION='\"29.0.6-linux\"' -DPLATFORM_TOOLS_VERSION='\"29.0.6\"'"

compile() {
  case $1 in *.c) kind="-x c -std=gnu11" ;; *) kind="-std=gnu++2a -fpermissive" ;; esac
  eval "aarch64-linux-gnu-g++ -w $kind $flags -c '$core/$1' -o '$source/$(tr ./ _ <<< "$1").o'"
}
export -f compile
export core source flags
xargs -n 1 -P "$(nproc)" bash -euc 'compile "$0"' <<< "$files"

libraries=/usr/lib/aarch64-linux-gnu
aarch64-linux-gnu-g++ "$source"/*.o -o "$out" -pthread -L$libraries/android -L$libraries \
  -Wl,-rpath,$libraries/android -Wl,-rpath-link,$libraries/android -lbase -lcutils -llog -lcrypto -lcap -lresolv
