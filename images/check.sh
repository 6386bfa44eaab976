#!/bin/sh
# Starts both images as a restricted pod does (a user without a name or capabilities, a read-only root) on a model of
# this checkout, asks a question through the gateway, and lets both drain. Needs the environment in .venv for the client.
set -eu
cd "$(dirname "$0")/.."
. images/tool.sh
user=23456
model="$PWD/models/chat"
scratch=$(mktemp -d)
started=""
failed=0
trap 'stop_all; rm -rf "$scratch"' EXIT

# start NAME COMMAND…: the command in the image of that name, on the network of this machine.
start() {
    name=$1
    shift
    if [ "$tool" = buildah ]; then
        made=$(buildah from "$(image_name "$name")")
        root=$(buildah mount "$made")
        variables=$(buildah inspect --type container --format '{{range .OCIv1.Config.Env}}{{.}} {{end}}' "$made")
        # shellcheck disable=SC2086 # a variable each
        SHARED=$PWD/models images/confined.sh "$root" "$user" \
            env -i -C /app $variables SENSORIUM_HOST=127.0.0.1 tini -s -- "$@" >"$scratch/$name.log" 2>&1 &
        started="$! $made $started"
    else
        made=$("$tool" run --detach --network host --read-only --tmpfs /tmp --tmpfs /cache:mode=1777 --user "$user:$user" \
            --cap-drop ALL --security-opt no-new-privileges --volume "$PWD/models:$PWD/models:ro" \
            --env SENSORIUM_HOST=127.0.0.1 "$(image_name "$name")" "$@")
        started="$made $started"
    fi
}

# Stops what runs, the last one first; says how each one ended.
stop_all() {
    # shellcheck disable=SC2086 # words
    set -- $started
    started=""
    while [ $# -gt 0 ]; do
        code=0
        if [ "$tool" = buildah ]; then
            kill "$1" 2>/dev/null || true
            wait "$1" || code=$?
            buildah rm "$2" >/dev/null
            shift 2
        else
            "$tool" stop --time 30 "$1" >/dev/null
            code=$("$tool" wait "$1")
            "$tool" logs "$1" >>"$scratch/$1.log" 2>&1
            "$tool" rm "$1" >/dev/null
            shift
        fi
        echo "ended with $code"
        if [ "$code" != 0 ]; then
            failed=1
            cat "$scratch"/*.log >&2
        fi
    done
}

start services python -m services.text --model "$model" --port 51951 --metrics-port 59951 --drain-delay-seconds 0
start gateway python -m gateway --static 127.0.0.1:51951 --port 51950 --metrics-port 59950 --drain-delay-seconds 0
for _ in $(seq 60); do
    if answer=$(.venv/bin/sensorium text generate --target 127.0.0.1:51950 --chat "What is two plus three?" 2>"$scratch/refused"); then
        echo "answered: $answer"
        if [ "$tool" = buildah ] && grep "cannot be compiled" "$scratch/services.log"; then exit 1; fi
        stop_all
        exit "$failed"
    fi
    sleep 1
done
cat "$scratch"/* >&2
exit 1
