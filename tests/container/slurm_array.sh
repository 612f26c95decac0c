#!/usr/bin/env bash
# The array script on a real SLURM: a task killed for memory, submitted again, then the group.
# Usage, with SLURM_CONF set: slurm_array.sh FOLDER
# FOLDER holds demo (the demonstration's BIDS folder) and bids_tract.sif; PATH leads to apptainer.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/container/checks.sh
. "$here/checks.sh"

log=$folder/submit.log
out=$folder/array
logs=$out/logs/slurm
script=$here/../../singularity/slurm_array.sbatch
# The jobs are root's here, and the program inside is another user's.
umask 0
mkdir -p "$out"
chown 1000:1000 "$out"

# Two tasks at once on two CPUs; held, so that one can be given too little before it starts.
submit() {
    BIDS_TRACT_SBATCH="--cpus-per-task 1 --mem 2G --time 10 $1" bash "$script" \
        "$folder/demo" "$out" "$folder/bids_tract.sif" "$folder/scratch" \
        --preprocessed --tracking det --select 500 --derivatives "/data/derivatives/phantom" \
        | tee "$log"
}
job() { sed -n "s/.*$1 job \([0-9]*\).*/\1/p" "$log"; }
state() { scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p' | sed -n 1p; }
ended() { case $(state "$1") in PENDING | RUNNING | COMPLETING | CONFIGURING) return 1 ;; esac }

submit --hold
array=$(job array) group=$(job group)
expect 'two participants are submitted' grep -q 'participants to do: 2' "$log"
# More than the program needs to start, less than it needs for a fit.
scontrol update "JobId=${array}_2" MinMemoryNode="${TOO_LITTLE_MB:-200}"
scontrol release "$array" "$group"
for task in 1 2; do within 300 ended "${array}_$task" || fail "task $task does not end"; done
within 60 ended "$group" || true
echo "states: $(state "${array}_1") $(state "${array}_2") $(state "$group")"
expect 'the first task is done' test "$(state "${array}_1")" = COMPLETED
expect 'the second ran out of memory' test "$(state "${array}_2")" = OUT_OF_MEMORY
expect 'its exit code is not 0' grep -Eq 'ExitCode=([1-9]|0:[1-9])' \
    <<<"$(scontrol show job "${array}_2")"
expect 'its log says why' grep -q 'want of memory' "$logs/${array}_2.log"
expect 'status.json says that it is not done' unfinished "$out" sub-02
expect 'the first has a tractogram' streamlines "$out/sub-01"
expect 'the group level did not run' test "$(state "$group")" = CANCELLED

submit ''
array=$(job array) group=$(job group)
expect 'one participant is submitted again' grep -q 'participants to do: 1' "$log"
within 300 ended "$group" || fail 'the group level does not end'
expect 'the second is done now' test "$(state "${array}_1")" = COMPLETED
expect 'it has a tractogram' streamlines "$out/sub-02"
expect 'the group level followed' test "$(state "$group")" = COMPLETED
expect 'the group level ran' grep -q 'group' "$logs/$group.log"

submit '' >/dev/null
group=$(job group)
expect 'then there is nothing left' grep -q 'participants to do: 0' "$log"
within 120 ended "$group" || fail 'the group level does not end'

# Asked to end by scancel: within the time that SLURM gives, and said.
rm -f "$logs/sub-02.done"
BIDS_TRACT_SBATCH='--cpus-per-task 1 --mem 2G --time 10' bash "$script" "$folder/demo" "$out" \
    "$folder/bids_tract.sif" "$folder/scratch" --preprocessed --seeds 1000 >"$log"
array=$(job array)
tracking() { [ -n "$(find "$folder/scratch" -name '.*track-prob*')" ]; }
within 120 tracking || fail 'it does not track'
scancel "$array"
within 25 ended "${array}_1" || fail 'scancel does not end it'
within 10 grep -q 'ended by SIGTERM' "$logs/${array}_1.log" || true
expect 'scancel: an orderly end' grep -q 'ended by SIGTERM' "$logs/${array}_1.log"
expect 'scancel: nothing half-written' test -z "$(find "$out" "$folder/scratch" -name '.[0-9]*')"
summary slurm
