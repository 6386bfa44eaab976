# Sourced by the other scripts: sets `tool` to docker, podman or buildah, whichever works here, or ends.
works() { command -v "$1" >/dev/null && "$@" >/dev/null 2>&1; }
for tool in docker podman buildah none; do
    if [ "$tool" = none ]; then
        echo "This needs docker, podman or buildah, installed and running (Debian: apt-get install buildah)." >&2
        exit 1
    fi
    if works "$tool" info; then break; fi
done
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' sensorium/__init__.py)

# The full name of an image: `image_name gateway`.
image_name() { echo "${REGISTRY:+$REGISTRY/}sensorium-$1:${TAG:-$version}"; }
