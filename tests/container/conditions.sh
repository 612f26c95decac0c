#!/usr/bin/env bash
# Runs the image under the conditions that users have: any UID, read-only, limits, signals.
# Usage: conditions.sh ENGINE IMAGE DEMO     ENGINE: podman or docker; DEMO: the demonstration's
#                                            BIDS folder
set -euo pipefail
engine=$1 image=$2 demo=$3
# shellcheck source=tests/container/checks.sh
. "$(dirname "$0")/checks.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
log=$scratch/log
# Without the corrections of raw data, which take minutes and nothing from the container.
quick=(--preprocessed --tracking det --select 500)
options=(participant group --participant-label 02 "${quick[@]}")

# Docker gives a user without a name; podman would invent one.
nobody=(-u 12345:54321)
if [ "$engine" = podman ]; then nobody+=(--passwd=false); fi

# A new output folder for each run: nothing is to be reused.
fresh() {
    out=$(mktemp -d "$scratch/out.XXX")
    chmod 1777 "$out"
    container=("$engine" run --rm --network none -v "$demo:/data:ro" -v "$out:/out")
}

# run NAME STATUS OPTIONS OF THE ENGINE...: the program on one participant.
run() {
    local name=$1 status=$2
    shift 2
    fresh
    check "$name" "$status" "${container[@]}" "$@" "$image" /data /out "${options[@]}"
    if [ "$status" -eq 0 ]; then expect "$name: a tractogram" streamlines "$out"; fi
}

fresh
check 'help' 0 "${container[@]}" "$image" --help
check 'usage error' 2 "${container[@]}" "$image" /data
check 'not a BIDS dataset' 16 "${container[@]}" "$image" /home /out participant
check 'dry run' 0 "${container[@]}" "$image" /data /out participant --dry-run
# The fastest of three: other work on the machine is not to count.
# shellcheck disable=SC2016
check 'answers in half a second' 0 "${container[@]}" --entrypoint bash "$image" -c '
    for _ in 1 2 3; do
        began=${EPOCHREALTIME/./}
        bids_tract --version
        took=$((${EPOCHREALTIME/./} - began))
        echo "$took microseconds"
        if [ "$took" -lt 500000 ]; then exit 0; fi
    done
    exit 1'

run 'root' 0 -e NUMBA_DEBUG_CACHE=1
expect 'kernels are there' grep -q 'data loaded' "$log"
expect 'nothing is compiled' test "$(grep -c 'data saved' "$log")" -eq 0
expect 'the container is named' grep -q '"Tag": "bids_tract:' "$out/dataset_description.json"
expect '/version' test "$("${container[@]}" --entrypoint cat "$image" /version)" = \
    "$("$engine" inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}}' "$image")"

run 'read-only, /tmp' 0 --read-only --tmpfs /tmp
run 'any user' 0 "${nobody[@]}"
run 'any user, read-only' 0 "${nobody[@]}" --read-only --tmpfs /tmp
expect 'the kind of container is named' \
    grep -q "\"Type\": \"$engine\"" "$out/dataset_description.json"
run 'any user, no HOME' 0 "${nobody[@]}" --read-only --tmpfs /tmp -e HOME=/nonexistent
run 'little /tmp and /dev/shm' 0 "${nobody[@]}" --read-only --tmpfs /tmp:rw,size=64m,mode=1777 \
    --shm-size 64m
run 'no capabilities' 0 "${nobody[@]}" --cap-drop ALL --security-opt no-new-privileges
run 'one CPU, 1 GiB' 0 --cpus 1 -m 1g
expect 'limits are seen' grep -q 'CPUs: 1; threads of one process: 1; memory: 1.0 GB' "$log"

# Two scans at once, in worker processes.
options=(participant --participant-label 01 "${quick[@]}" --nprocs 2)
run 'worker processes' 0 "${nobody[@]}" --read-only --tmpfs /tmp
# Too little for two workers; which process the kernel ends is the kernel's choice.
fresh
status=0
timeout 300 "${container[@]}" -m 260m "$image" /data /out "${options[@]}" >"$log" 2>&1 || status=$?
case $status in
    1 | 137) pass "out of memory (exit code $status)" ;;
    *) fail "out of memory: exit code $status" && tail "$log" ;;
esac
expect 'out of memory: in status.json' unfinished "$out" sub-01_ses-1
options=(participant "${quick[@]}")

broken=$scratch/broken
cp -r "$demo" "$broken"
head -c 100000 "$demo/sub-02/dwi/sub-02_dwi.nii.gz" >"$broken/sub-02/dwi/sub-02_dwi.nii.gz"
chmod -R a+rX "$broken"
fresh
check 'a damaged scan' 1 "${container[@]}" -v "$broken:/broken:ro" "$image" \
    /broken /out "${options[@]}"
expect 'a damaged scan: in status.json' test "$(status_of "$out" sub-02)" = failed
expect 'a damaged scan: the others are done' test "$(status_of "$out" sub-01_ses-1)" = complete

fresh
chmod 755 "$out"
check 'output cannot be written' 73 "${container[@]}" "${nobody[@]}" "$image" /data /out \
    "${options[@]}"

# Stopped while it tracks, which would take minutes.
fresh
chmod 777 "$out"
name=bids_tract-conditions-$$
long=(participant --participant-label 02 --preprocessed --seeds 1000 -w /out/work)
"${container[@]}" "${nobody[@]}" --name "$name" "$image" /data /out "${long[@]}" >"$log" 2>&1 &
client=$!
tracking() { [ -n "$(find "$out/work/scratch" -name '.*track-prob*')" ]; }
if within 120 tracking; then pass 'it tracks'; else fail 'it tracks' && tail "$log"; fi
began=${EPOCHREALTIME/./}
"$engine" stop --time 10 "$name" >/dev/null
took=$(((${EPOCHREALTIME/./} - began) / 1000))
status=0
wait "$client" || status=$?
expect "stopped: exit code 143 ($status)" test "$status" -eq 143
expect "stopped: within 8 s ($took ms)" test "$took" -lt 8000
expect 'stopped: no tractogram' test -z "$(find "$out" -name '*tractogram*')"
expect 'stopped: nothing half-written' test -z "$(find "$out" -name '.[0-9]*')"
check 'resumed' 0 "${container[@]}" "${nobody[@]}" "$image" /data /out \
    participant --participant-label 02 --preprocessed --select 500 -w /out/work
expect 'resumed: the fit is reused' grep -q 'csd.*unchanged: reused' "$log"

for label in title description licenses version revision created; do
    value=$("$engine" inspect --format \
        "{{index .Config.Labels \"org.opencontainers.image.$label\"}}" "$image")
    expect "label $label: $value" test -n "${value#<no value>}"
done
summary "$engine"
