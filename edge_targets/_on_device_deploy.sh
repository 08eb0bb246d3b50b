#!/bin/sh
# Keeps versions of a model on a device and switches between them. Pushed and started by _deploy.py:
#
#   sh _on_device_deploy.sh ROOT NAME WAIT_S status
#                                            install VERSION     from the folder that it is started in
#                                            switch VERSION
#                                            discard VERSION     unless it was switched to
#                                            rollback
#
# ROOT/NAME/versions/VERSION/   model.tflite, whose sha256 is VERSION; SHA256SUMS; the files that it lists. Or, of a model
#                               in two files, cascade.json, whose sha256 is VERSION and which names both by theirs
#           current             -> versions/VERSION
#           previous            -> versions/VERSION
#           .next/              the two links of a switch that has not ended
#           .incoming/ .trash/  folders that are not whole
#           .lock               -> PID.START of the script at work
#
# A folder comes into versions/, and leaves it, by one rename; `current` changes by one rename. Whenever this is killed,
# `current` is the old or the new version, whole, and the next call mends the rest.
#
# It runs under dash, bash, busybox's ash and Android's mksh with toybox. They have no flock, `mv -T` or `ln -sfn` in
# common; mksh hands no open file but the first three to a command; busybox's sleep may know only whole seconds.
#
# Exit codes, which _deploy.py turns into sentences: 20 busy, 21 damaged on the way, 22 not installed (any more),
# 23 no previous version, 24 a file could not be written, 25 a command is missing, 26 no folder for models.

set -u
umask 022

fail() { # CODE
  unlock
  exit "$1"
}

# ---- the lock ----

start_of() { # PID -> when it started, in ticks since boot; fails where no such process runs
  [ -r "/proc/$$/stat" ] || { kill -0 "$1" 2>/dev/null && echo 0; return; }
  # `cat`, not `read`: an emulator of processors makes up this file for the process itself.
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # shellcheck disable=SC2086 - into words
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "${20}"
}

alive() { # PID.START
  [ "$(start_of "${1%%.*}")" = "${1#*.}" ]
}

take() ( # LINK: point it to us; fails where somebody alive has it. The parentheses make its variables its own.
  ln -s "$me" "$1" 2>/dev/null && exit 0
  owner=$(readlink "$1") || exit 1
  alive "$owner" && exit 1
  # Of all who see a dead one's lock, one alone may break it: else the second would break the lock of the first.
  take ".lock.$owner" && [ "$(readlink "$1")" = "$owner" ] && rm -f "$1" && ln -s "$me" "$1" 2>/dev/null
)

lock() { # WAIT_S
  me=$$.$(start_of $$)
  ln -s "$me" ".try.$me" && rm -f ".try.$me" || fail 24
  waited_s=0
  until take .lock; do
    [ "$waited_s" -lt "$1" ] || fail 20
    sleep 1
    waited_s=$((waited_s + 1))
  done
  locked=1
}

unlock() {
  [ "$locked" = 0 ] || rm -f .lock
  locked=0
}

# ---- parts ----

target() { # LINK -> where it points to, or nothing
  readlink "$1" 2>/dev/null
}

settle() { # FILE...: bring them to the disk
  # Android's sync takes no names and brings all; others refuse what they do not know.
  sync "$@" 2>/dev/null || sync
}

whole() { # FOLDER VERSION: whether it holds that model, and all that it lists, byte for byte
  [ -f "$1/SHA256SUMS" ] || return 1
  key=model.tflite named='' models=''
  while read -r sum file; do
    found=$(sha256sum "$1/$file" 2>/dev/null) || return 1
    [ "${found%% *}" = "$sum" ] || return 1
    case $file in
      cascade.json) key=$file named=$sum ;;
      model.tflite | model.rest.tflite) models="$models $sum" ;;
    esac
  done <"$1/SHA256SUMS"
  if [ "$key" = model.tflite ]; then named=${models# }; else both_named "$1" || return 1; fi
  [ "$named" = "$2" ]
}

both_named() { # FOLDER: whether its cascade.json names two files by the sums in $models
  told=$(cat "$1/cascade.json") || return 1
  # shellcheck disable=SC2086 - into words
  set -- $models
  [ $# = 2 ] || return 1
  case $told in *"$1"*) ;; *) return 1 ;; esac
  case $told in *"$2"*) ;; *) return 1 ;; esac
}

throw_away() { # FOLDER
  rm -rf .trash
  mv "$1" .trash && rm -rf .trash
}

mend() { # what an interrupted switch left: once `current` was renamed, `previous` follows
  if [ -L .next/previous ] && [ ! -L .next/current ]; then
    mv -f .next/previous . || fail 24
  fi
  # In this order: alone, `previous` would say that `current` was renamed.
  rm -f .next/previous
  rm -rf .next .incoming .trash .lock.* .try.*
}

sweep() { # [VERSION]: all versions but that one, `current` and `previous`
  for old in versions/*; do
    case $old in
      'versions/*' | "versions/${1-}" | "$(target current)" | "$(target previous)") ;;
      *) throw_away "$old" || fail 24 ;;
    esac
  done
}

point_to() { # VERSION
  before=$(target current)
  [ "$before" != "versions/$1" ] || return 0
  mkdir .next && ln -s "versions/$1" .next/current || fail 24
  [ -z "$before" ] || ln -s "$before" .next/previous || fail 24
  settle .next
  # Into the folder, not onto the link: `mv LINK current` would move it to where `current` points.
  mv -f .next/current . || fail 24
  [ -z "$before" ] || mv -f .next/previous . || fail 24
  settle .
  rm -rf .next
}

# ---- what can be asked ----

install() { # VERSION
  sweep "$1"
  if whole "versions/$1" "$1" && [ "$(list_of "versions/$1")" = "$(list_of "$work")" ]; then return 0; fi
  mkdir .incoming || fail 24
  while read -r _ file; do
    mv -f "$work/$file" ".incoming/$file" && chmod 644 ".incoming/$file" || fail 24
  done <"$work/SHA256SUMS"
  mv -f "$work/SHA256SUMS" .incoming/SHA256SUMS && chmod 644 .incoming/SHA256SUMS || fail 24
  whole .incoming "$1" || { rm -rf .incoming; fail 21; }
  settle .incoming/* .incoming
  case versions/$1 in
    "$(target current)" | "$(target previous)") renew "$1" ;;
    *)
      [ ! -d "versions/$1" ] || throw_away "versions/$1" || fail 24
      mv .incoming "versions/$1" || fail 24
      ;;
  esac
  settle versions
}

renew() { # VERSION: it is in use, and one of its files is damaged or another one: they change one by one, model first.
  # What the version is named by never changes here: neither a model nor the threshold between two.
  mv -f .incoming/model.tflite "versions/$1/model.tflite" || fail 24
  for file in .incoming/*; do
    mv -f "$file" "versions/$1/${file##*/}" || fail 24
  done
  settle "versions/$1"
}

switch() { # VERSION
  [ -d "versions/$1" ] || fail 22
  point_to "$1"
  sweep
}

discard() { # VERSION
  case versions/$1 in
    "$(target current)" | "$(target previous)") ;;
    *)
      [ -d "versions/$1" ] || fail 22
      throw_away "versions/$1" || fail 24
      ;;
  esac
}

rollback() {
  before=$(target previous)
  version=${before#versions/}
  [ -n "$version" ] || fail 23
  whole "versions/$version" "$version" || fail 21
  point_to "$version"
}

list_of() { # FOLDER -> the sha256 of its list
  found=$(sha256sum "$1/SHA256SUMS" 2>/dev/null)
  echo "${found%% *}"
}

tell() { # current | previous
  version=$(target "$1")
  version=${version#versions/}
  [ -n "$version" ] || return 0
  if whole "versions/$version" "$version"; then
    echo "$1 $version $(list_of "versions/$version") $key"
  else
    echo "$1 $version damaged"
  fi
}

status() {
  printf 'edgesmith-deploy 1\nfolder %s\n' "$(pwd)"
  tell current
  tell previous
}

# ---- main ----

root=$1 name=$2 wait_s=$3 verb=$4
work=$(pwd)
locked=0
for tool in cat chmod ln mkdir mv printf readlink rm sha256sum sleep sync; do
  command -v "$tool" >/dev/null || { echo "$tool" >&2; exit 25; }
done
case $root in
  # shellcheck disable=SC2088 - the host sends it as it is
  '~/'*) root=${HOME:?}/${root#??} ;;
esac
case $verb in
  install) mkdir -p "$root/$name/versions" || exit 24 ;;
  status) [ -d "$root/$name" ] || { printf 'edgesmith-deploy 1\nfolder %s\n' "$root/$name"; exit 0; } ;;
esac
cd "$root/$name" || exit 26
if [ "$verb" != status ]; then
  lock "$wait_s"
  mend
fi
case $verb in
  install) install "$5" ;;
  switch) switch "$5" ;;
  discard) discard "$5" ;;
  rollback) rollback ;;
esac
status
unlock
