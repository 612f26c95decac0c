#!/usr/bin/env bash
# A SLURM cluster of one node on the loopback device, without systemd.
# Usage, as root: slurm.sh start FOLDER     then: export SLURM_CONF=FOLDER/slurm.conf
#                 slurm.sh stop FOLDER
set -euo pipefail
action=$1 folder=$2

configure() {
    local node cpus memory limits=(TaskPlugin=task/none ProctrackType=proctrack/linuxproc)
    node=$(hostname -s)
    cpus=$(nproc)
    memory=$(awk '/^MemTotal/ { print int($2 / 1024) - 512 }' /proc/meminfo)
    : >"$folder/cgroup.conf"
    # Tasks are held to their memory where control groups can be made: here those of version 1.
    if mkdir /sys/fs/cgroup/memory/bids_tract_probe 2>/dev/null; then
        rmdir /sys/fs/cgroup/memory/bids_tract_probe
        limits=('TaskPlugin=task/affinity,task/cgroup' ProctrackType=proctrack/cgroup)
        cat >"$folder/cgroup.conf" <<CONF
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainCores=yes
ConstrainRAMSpace=yes
CONF
    fi
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
CommunicationParameters=NoAddrCache,NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=bf_interval=2,sched_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=20
PropagateResourceLimitsExcept=ALL
$(printf '%s\n' "${limits[@]}")
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
}

idle() { [ "$(sinfo --noheader --format %T)" = idle ]; }

case $action in
    start)
        mkdir -p "$folder"/{state,spool,munge}
        chmod 755 "$folder" "$folder/munge"
        head -c 1024 /dev/urandom >"$folder/munge/key"
        chmod 400 "$folder/munge/key"
        configure
        export SLURM_CONF=$folder/slurm.conf
        munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
            --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
            --seed-file="$folder/munge/seed"
        slurmctld -c
        slurmd
        for _ in $(seq 60); do
            if idle; then exit 0; fi
            sleep 0.5
        done
        tail "$folder"/*.log
        exit 1
        ;;
    stop)
        for daemon in slurmd slurmctld munged; do
            if [ -s "$folder/$daemon.pid" ]; then kill "$(cat "$folder/$daemon.pid")" || true; fi
        done
        ;;
esac
