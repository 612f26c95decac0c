#!/usr/bin/env bash
# A private Docker Engine on a socket in a folder, without systemd, bridge and iptables.
# Usage, as root: dockerd.sh start FOLDER      then: export DOCKER_HOST=unix://FOLDER/docker.sock
#                 dockerd.sh stop FOLDER
set -euo pipefail
action=$1 folder=$2

case $action in
    start)
        mkdir -p "$folder"
        dockerd --host "unix://$folder/docker.sock" --pidfile "$folder/pid" \
            --data-root "$folder/data" --exec-root "$folder/exec" \
            --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
            --default-ulimit nofile=4096:4096 --default-ulimit nproc=4096:4096 \
            >"$folder/log" 2>&1 </dev/null &
        for _ in $(seq 60); do
            if docker --host "unix://$folder/docker.sock" version >/dev/null 2>&1; then exit 0; fi
            sleep 0.5
        done
        tail "$folder/log"
        exit 1
        ;;
    stop)
        if [ ! -s "$folder/pid" ]; then exit 0; fi
        pid=$(cat "$folder/pid")
        kill "$pid"
        for _ in $(seq 60); do
            if ! kill -0 "$pid" 2>/dev/null; then break; fi
            sleep 0.5
        done
        ;;
esac
