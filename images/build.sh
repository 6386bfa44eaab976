#!/bin/sh
# Builds both images with docker, podman or buildah, whichever works here. From the environment:
#   TAG            their tag; by default the version
#   REGISTRY       what stands before their names, such as registry.example.com/team
#   ACCELERATOR    cpu (default) or cuda
#   MODELS         none (default), or embedded: this repository's models go into the image of the services
#   BASE           the image both are made from; `images/base.sh` makes one where no registry can be reached
#   IMAGES         gateway, services or both (default)
#   BUILD_FLAGS    more flags for the tool, such as --secret id=pip,src=pip.conf
set -eu
cd "$(dirname "$0")/.."

works() { command -v "$1" >/dev/null && "$@" >/dev/null 2>&1; }
if works docker info; then
    build="docker build"
elif works podman info; then
    build="podman build"
elif works buildah info; then
    # Without privileges of a daemon, steps run in a chroot.
    build="buildah build --isolation ${BUILDAH_ISOLATION:-chroot}"
else
    echo "To build images, docker, podman or buildah has to be installed and running (Debian: apt-get install buildah)." >&2
    exit 1
fi

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' sensorium/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
set -- --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "BASE=${BASE:-debian:bookworm-slim}"
for name in ${IMAGES:-gateway services}; do
    image="${REGISTRY:+$REGISTRY/}sensorium-$name:${TAG:-$version}"
    more=""
    if [ "$name" = services ]; then
        more="--build-arg ACCELERATOR=${ACCELERATOR:-cpu} --build-arg MODELS=${MODELS:-none}"
        if [ -n "${TORCH_CPU_INDEX+given}" ]; then more="$more --build-arg TORCH_CPU_INDEX=$TORCH_CPU_INDEX"; fi
    fi
    echo "$image"
    # shellcheck disable=SC2086 # several words are meant
    $build "$@" $more ${BUILD_FLAGS:-} --file "images/$name/Dockerfile" --tag "$image" .
done
