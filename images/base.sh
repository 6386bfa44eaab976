#!/bin/sh
# Makes the image that the others are built from out of Debian's packages, where no registry can be reached: what
# debian:bookworm-slim has, less its trimming. Needs root, debootstrap and buildah; DEBIAN_MIRROR names another mirror.
set -eu
image=${1:-localhost/debian:bookworm-slim}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
debootstrap --variant=minbase bookworm "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
# As the official image is trimmed, for pages of manuals and packages that were installed from are not read in it.
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/man \
    "$root"/usr/share/locale "$root"/usr/share/info
printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/slim"
made=$(buildah from scratch)
buildah add "$made" "$root" / >/dev/null
buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$made"
buildah commit --rm "$made" "$image"
