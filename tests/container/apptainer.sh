#!/usr/bin/env bash
# Apptainer as an unprivileged user has it on a cluster, on a machine that has no package of it:
# that of Debian unstable, in a root of its own (user name spaces, squashfuse).
# Usage, as root: apptainer.sh setup ROOT
#                 apptainer.sh run ROOT FOLDER COMMAND...
# The command runs as user 1000, in FOLDER, which has its own path in there too.
# With OFFLINE=1 it has no network.
set -euo pipefail
action=$1 root=$2
user=1000

setup() {
    local mirror
    # apt fills in what stands in parentheses.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 1p)
    mmdebstrap --quiet --mode=root --variant=minbase --components=main \
        --include=apptainer,ca-certificates,fakeroot,fuse3,squashfs-tools,squashfuse,tzdata,uidmap \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        sid "$root.new" "$mirror"
    echo '127.0.0.1 localhost' >"$root.new/etc/hosts"
    echo "hpc:x:$user:$user::/home/hpc:/bin/bash" >>"$root.new/etc/passwd"
    echo "hpc:x:$user:" >>"$root.new/etc/group"
    echo hpc:100000:65536 | tee "$root.new/etc/subuid" >"$root.new/etc/subgid"
    install -d -o "$user" -g "$user" "$root.new/home/hpc"
    rm -rf "$root.new"/var/lib/apt/lists/* "$root.new"/var/cache/apt/*
    mv "$root.new" "$root"
}

# In a mount name space of its own: goes into the root, takes the folder along, becomes the user.
# shellcheck disable=SC2016
enter='
    set -euo pipefail
    root=$1 folder=$2 user=$3
    shift 3
    mount --bind "$root" "$root"
    for tree in proc sys dev; do mount --rbind "/$tree" "$root/$tree"; done
    mount --make-rprivate "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    # A device of our own: that of the machine may be for root only.
    mount -t tmpfs tmpfs "$root/mnt"
    mknod -m 666 "$root/mnt/fuse" c 10 229
    if [ ! -e "$root/dev/fuse" ]; then touch "$root/dev/fuse"; fi
    mount --bind "$root/mnt/fuse" "$root/dev/fuse"
    umount -l "$root/mnt"
    mkdir -p "$root$folder" "$root/.before"
    mount --rbind "$folder" "$root$folder"
    cd "$root"
    pivot_root . .before
    cd "$folder"
    umount -l /.before
    exec setpriv --reuid "$user" --regid "$user" --clear-groups \
        env HOME=/home/hpc USER=hpc LOGNAME=hpc \
        APPTAINER_CACHEDIR="$folder/.apptainer" APPTAINER_TMPDIR="$folder" "$@"
'

case $action in
    setup) if [ ! -d "$root" ]; then setup; fi ;;
    run)
        folder=$3
        shift 3
        spaces=(--mount --propagation private)
        if [ "${OFFLINE:-0}" = 1 ]; then spaces+=(--net); fi
        exec unshare "${spaces[@]}" bash -c "$enter" - "$root" "$folder" "$user" "$@"
        ;;
esac
