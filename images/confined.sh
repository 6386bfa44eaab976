#!/bin/sh
# Runs a command as a container runs it: `images/confined.sh ROOT USER COMMAND…` has the folder ROOT for its root, which
# it cannot write to, but for empty folders at /tmp and /cache; USER is a number, has no name and no capabilities; the
# network is the caller's. SHARED names folders that are seen in it, read-only, under their own paths. Needs root.
set -eu
if [ "${1:-}" != --inside ]; then
    exec unshare --mount --propagation private "$0" --inside "$@"
fi
root=$(realpath "$2")
user=$3
shift 3
umask 022

mount --bind "$root" "$root"
for folder in tmp cache; do
    mkdir -p "$root/$folder"
    mount -t tmpfs -o nosuid,nodev,mode=1777 "$folder" "$root/$folder"
done
# Behind the empty folders: a checkout may itself lie in /tmp.
for folder in ${SHARED:-}; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
done
mkdir -p "$root/proc" "$root/dev"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --bounding-set=-all --inh-caps=-all \
    --no-new-privs "$@"
