#!/bin/sh
# Builds both images with docker, podman or buildah, whichever works here. From the environment:
#   TAG              their tag; by default the version
#   REGISTRY         what stands before their names, such as registry.example.com/team
#   ACCELERATOR      cpu (default) or cuda
#   MODELS           none (default), or embedded: this repository's models go into the image of the services
#   BASE             the image both are made from; `images/base.sh` makes one where no registry can be reached
#   TORCH_CPU_INDEX  where torch without CUDA comes from; empty where pip's own configuration knows
#   IMAGES           gateway, services or both (default)
#   BUILD_FLAGS      more flags for the tool, such as --secret id=pip,src=pip.conf
set -eu
cd "$(dirname "$0")/.."
. images/tool.sh
build="$tool build"
# Without a daemon's privileges, steps run in a chroot.
if [ "$tool" = buildah ]; then build="$build --isolation ${BUILDAH_ISOLATION:-chroot}"; fi

revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
set -- --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "BASE=${BASE:-debian:bookworm-slim}"
for name in ${IMAGES:-gateway services}; do
    more=""
    if [ "$name" = services ]; then
        more="--build-arg ACCELERATOR=${ACCELERATOR:-cpu} --build-arg MODELS=${MODELS:-none}"
        if [ -n "${TORCH_CPU_INDEX+given}" ]; then more="$more --build-arg TORCH_CPU_INDEX=$TORCH_CPU_INDEX"; fi
    fi
    # shellcheck disable=SC2086 # several words are meant
    $build "$@" $more ${BUILD_FLAGS:-} --file "images/$name/Dockerfile" --tag "$(image_name "$name")" .
done
