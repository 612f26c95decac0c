# shellcheck shell=bash
# Counts checks and says how they went; for the scripts beside it, which source it.
passed=0
failed=0
log=/dev/null # what the last command said; to be set

# check NAME STATUS COMMAND...: whether a command ends with an exit status. Its words go to $log.
check() {
    local name=$1 wanted=$2 began=$SECONDS status=0
    shift 2
    timeout --kill-after 10 300 "$@" >"$log" 2>&1 || status=$?
    if [ "$status" -eq "$wanted" ]; then
        pass "$name ($((SECONDS - began)) s)"
    else
        fail "$name: exit code $status, not $wanted"
        tail -n 20 "$log"
    fi
}

# expect NAME COMMAND...: whether something holds; says nothing of its own.
expect() {
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then pass "$name"; else fail "$name"; fi
}

pass() {
    passed=$((passed + 1))
    echo "ok    $1"
}

fail() {
    failed=$((failed + 1))
    echo "FAIL  $1"
}

summary() {
    echo "$1: $passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

# within SECONDS COMMAND...: whether it comes true in time.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
        sleep 0.2
    done
}

# status_of OUTPUT SCAN: what the last run on a scan has left: complete, failed, running; or None.
status_of() {
    python3 - "$1" "$2" <<'PYTHON'
import json
import sys
from pathlib import Path

files = Path(sys.argv[1], "logs").glob("*/status.json")
runs = [json.loads(file.read_text()) for file in sorted(files, key=lambda file: file.stat().st_mtime)]
print(next((run[sys.argv[2]]["Status"] for run in reversed(runs) if sys.argv[2] in run), None))
PYTHON
}

# unfinished OUTPUT SCAN: whether a run has left word of a scan that it did not finish.
unfinished() {
    case $(status_of "$1" "$2") in
        failed | running) return 0 ;;
        *) return 1 ;;
    esac
}

# streamlines OUTPUT: whether there is a tractogram, and no half-written file.
streamlines() {
    [ -n "$(find "$1" -name '*_tractogram.trx' -size +1k)" ] &&
        [ -z "$(find "$1" -name '.[0-9]*')" ]
}
