#!/bin/sh
# Puts programs that are not on PyPI into .tools, from Debian's packages and without root: `local/tools.sh PACKAGE PROGRAM…`.
# Does nothing where all programs are there, or on the PATH.
set -eu
cd "$(dirname "$0")/.."
package=$1
shift

missing=
for program in "$@"; do
    [ -x ".tools/usr/bin/$program" ] || command -v "$program" >/dev/null || missing="$missing $program"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "Needed:$missing, and this machine has no apt to fetch them with: install $package so that they are on the PATH." >&2
    exit 1
fi
mkdir -p .tools/packages
echo "Fetching Debian's $package into .tools."
own="-o Dir::State::lists=$PWD/.tools/lists -o Dir::Cache=$PWD/.tools/cache -o Debug::NoLocking=1"
fetch() { (cd .tools/packages && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User="$(id -un)" "$@" download "$package"); }
# A machine whose lists are empty or old, and whose root we are not, gets lists of its own.
# shellcheck disable=SC2086
if ! fetch 2>/dev/null; then
    mkdir -p .tools/lists/partial .tools/cache/archives/partial
    apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User="$(id -un)" $own update && fetch $own || {
        echo "apt could not fetch $package: install it so that$missing are on the PATH." >&2
        exit 1
    }
fi
dpkg -x ".tools/packages/${package}_"*.deb .tools
rm -rf .tools/packages .tools/lists .tools/cache
