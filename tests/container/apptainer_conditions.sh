#!/usr/bin/env bash
# Runs the Apptainer image as an unprivileged user under the conditions of clusters.
# Usage, as root: apptainer_conditions.sh ROOT FOLDER    ROOT: see apptainer.sh; FOLDER: holds
#                                         bids_tract.sif, and demo, the demonstration's BIDS folder
set -euo pipefail
root=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/container/checks.sh
. "$here/checks.sh"

log=$folder/log
image=$folder/bids_tract.sif
# Without the corrections of raw data, which take minutes and nothing from the container.
options=(participant group --participant-label 02 --preprocessed --tracking det --select 500)
apptainer=("$here/apptainer.sh" run "$root" "$folder")

fresh() {
    out=$(mktemp -d "$folder/out.XXX")
    mkdir "$out/work"
    chown -R 1000:1000 "$out"
    binds=(-B "$folder/demo:/data:ro" -B "$out:/out" -B "$out/work:/work")
}

# run NAME STATUS PROGRAM OPTIONS...: apptainer, or env and apptainer, up to its own options.
run() {
    local name=$1 status=$2
    shift 2
    fresh
    check "$name" "$status" "${apptainer[@]}" "$@" "${binds[@]}" "$image" /data /out "${options[@]}"
    if [ "$status" -eq 0 ]; then expect "$name: a tractogram" streamlines "$out"; fi
}

fresh
check 'help' 0 "${apptainer[@]}" apptainer -q run "$image" --help
check 'usage error' 2 "${apptainer[@]}" apptainer -q run "$image" /data
check "the recipe's test" 0 "${apptainer[@]}" apptainer -q test "$image"
labels=$("${apptainer[@]}" apptainer -q inspect "$image")
expect 'labels' grep -q 'org.opencontainers.image.revision' <<<"$labels"

run 'plain' 0 apptainer -q run
run "the host's environment" 0 \
    env PYTHONPATH=/bad PYTHONHOME=/bad NUMBA_DISABLE_JIT=1 NUMBA_CACHE_DIR=/bad TMPDIR=/bad \
    XDG_CACHE_HOME=/bad OMP_NUM_THREADS=7 apptainer -q run
run '--cleanenv' 0 env APPTAINERENV_NUMBA_DEBUG_CACHE=1 apptainer -q run --cleanenv
expect 'kernels are there' grep -q 'data loaded' "$log"
expect 'nothing is compiled' test "$(grep -c 'data saved' "$log")" -eq 0
expect 'the image is named' grep -q '"Type": "apptainer"' "$out/dataset_description.json"
run '--containall' 0 apptainer -q run --cleanenv --containall
run '--containall --no-home' 0 apptainer -q run --cleanenv --containall --no-home
mkdir -p "$folder/home"
chmod 555 "$folder/home"
run 'HOME is read-only' 0 apptainer -q run --cleanenv --home "$folder/home:/home/me"
run '--writable-tmpfs' 0 apptainer -q run --cleanenv --writable-tmpfs
OFFLINE=1 run 'no network' 0 apptainer -q run --cleanenv --containall

# A shell would run the first, and take the second apart.
fresh
# shellcheck disable=SC2016
odd='/work/a $(touch /work/ran) "b" '\'c\'
check 'odd arguments' 0 "${apptainer[@]}" apptainer -q run --cleanenv "${binds[@]}" "$image" \
    /data /out "${options[@]}" --work-dir "$odd"
expect 'odd arguments: arrive as they are' test -d "$out/work/${odd#/work/}"
expect 'odd arguments: nothing was run' test ! -e "$out/work/ran"

fresh
chown 0:0 "$out"
chmod 755 "$out"
check 'output cannot be written' 73 "${apptainer[@]}" apptainer -q run --cleanenv "${binds[@]}" \
    "$image" /data /out "${options[@]}"
summary apptainer
