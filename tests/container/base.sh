#!/usr/bin/env bash
# Makes a base image without a registry: Debian with Python, in place of the Dockerfile's default.
# The mirror is that of the machine's own apt configuration, and stays in the image as its source of
# packages: it is for tests, not for publishing.
# Usage, as root: base.sh SUITE TAG
set -euo pipefail
suite=$1 tag=$2

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# apt fills in what stands in parentheses.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 1p)
# The hooks run with the new root as their argument.
# shellcheck disable=SC2016
mmdebstrap --quiet --mode=root --variant=minbase --components=main \
    --include=ca-certificates,python3,python3-venv \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
    --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
    --customize-hook='rm -rf "$1"/var/log/* "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*' \
    "$suite" "$scratch/root.tar" "$mirror"

container=$(buildah from scratch)
buildah add --quiet "$container" "$scratch/root.tar" /
buildah config --cmd /bin/bash "$container"
buildah commit --quiet --rm "$container" "$tag"
