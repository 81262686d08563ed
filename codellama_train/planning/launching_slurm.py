"""The files that run a plan's stages by Slurm: one job a stage, each after the one it starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import format_seconds
from codellama_train.planning.devices import GIB, Cluster
from codellama_train.planning.launching_stages import (
    FINISHED,
    PREAMBLE,
    PlannedStage,
    comment,
    devices_of_a_node,
    filled,
    parent_of,
    quote,
    titles,
)

# Slurm asks the job to stop so long before its time limit: a micro-step and a checkpoint must fit in.
NOTICE_SECONDS = 600
# The longest job to ask for: at its end it saves and goes back into the queue, so that no stage needs more at once.
LONGEST_HOURS = 24

SBATCH = """\
#!/usr/bin/env bash
<<header>>#SBATCH --job-name=<<name>>
#SBATCH --comment=<<run>>
#SBATCH --nodes=<<num_nodes>>
#SBATCH --ntasks-per-node=<<per_node>>
#SBATCH --gpus-per-node=<<per_node>>
<<share_of_node>>#SBATCH --time=<<time_limit>>
#SBATCH --signal=USR1@<<notice_seconds>>
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=<<log>>
<<preamble>>
stage=(<<command>>)
run=<<run>>
folder=<<folder>>
fewest_nodes=<<fewest_nodes>> # fewer do not hold it in memory with these settings
most_ends=3 # at one checkpoint: it goes back into the queue for as long as it gets on

say() {
    printf '%s %s\\n' "$(date '+%F %T')" "$*"
}

if [ -f "$run/<<finished>>" ]; then
    say "$run is complete"
    exit 0
fi
if [ "$SLURM_JOB_NUM_NODES" -lt "$fewest_nodes" ]; then
    say "error: $run needs $fewest_nodes nodes or more, not $SLURM_JOB_NUM_NODES; plan again for fewer devices" >&2
    exit 2
fi
num_tasks=$((SLURM_JOB_NUM_NODES * SLURM_NTASKS_PER_NODE))
python scripts/train.py "${stage[@]}" --dry-run --devices "$num_tasks"

read -r MASTER_ADDR < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000)) # below the ports that systems hand out by themselves
export MASTER_ADDR MASTER_PORT

# One task a device: signals come to every process, and a process that fails ends the others.
rm -f "$run/stopped"
status=0
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$num_tasks" --kill-on-bad-exit=1 --cpu-bind=none --label \\
    bash "$folder/slurm_task.sh" "${stage[@]}" || status=$?

if [ -f "$run/<<finished>>" ]; then
    say "$run is complete"
    exit 0
fi
if [ -e "$run/stopped" ]; then
    say "$run was stopped by its stop file; bash $folder/submit.sh goes on"
    exit 1
fi
if [ "$status" -eq 2 ]; then
    say "error: $run cannot run so; the reason is above" >&2
    exit 2
fi

newest="no checkpoint"
for checkpoint in "$run"/checkpoints/step-*; do
    if [ -d "$checkpoint" ]; then
        newest=${checkpoint##*/}
    fi
done
say "$run ended at $newest with exit code $status, 0 if it was asked to stop"
ends=$folder/logs/$SLURM_JOB_NAME-$SLURM_JOB_ID.ends
echo "$newest" >>"$ends"
if [ "$(grep -c -x -F -e "$newest" "$ends")" -ge "$most_ends" ]; then
    say "error: $run ended $most_ends times at $newest; once it can get on, bash $folder/submit.sh goes on" >&2
    exit 1
fi
say "$run goes back into the queue as job $SLURM_JOB_ID"
scontrol requeue "$SLURM_JOB_ID"
"""

TASK = """\
#!/usr/bin/env bash
# One process of a stage's Slurm job: it takes its place among the others from Slurm and runs the training process.
set -uo pipefail
trap : USR1 TERM # are for the training process, which Slurm signals as well
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS LOCAL_SIZE=$SLURM_NTASKS_PER_NODE
status=0
python -u scripts/train.py "$@" || status=$?
if [ "$status" -eq 2 ]; then
    sleep 10 # what a person gave wrongly ends all processes with 2; the first must not have the others killed before
fi
exit "$status"
"""

SUBMIT = """\
#!/usr/bin/env bash
<<header>>
account=   # who pays; empty: your default account
partition= # where; empty: the cluster's default

<<preamble>>
folder=<<folder>>
options=(--parsable --kill-on-invalid-dep=yes "$@")
if [ -n "$account" ]; then
    options=(--account="$account" "${options[@]}")
fi
if [ -n "$partition" ]; then
    options=(--partition="$partition" "${options[@]}")
fi
mkdir -p "$folder/logs" # Slurm makes no folders for its logs
declare -A jobs

submit() { # stage, its run folder, that of the stage it starts from or nothing
    local stage=$1 run=$2 parent=$3 id directory comment after=()
    if [ -f "$run/<<finished>>" ]; then
        echo "$stage: complete"
        return
    fi
    while IFS='|' read -r id directory comment; do
        if [ "$directory" = "$(pwd -P)" ] && [ "$comment" = "$run" ]; then
            jobs[$run]=$id
            echo "$stage: is job $id already"
            return
        fi
    done < <(squeue --me --noheader --name="$stage" --format='%i|%Z|%k')
    if [ -n "$parent" ] && [ -n "${jobs[$parent]:-}" ]; then
        after=(--dependency="afterok:${jobs[$parent]}")
    fi
    id=$(sbatch "${options[@]}" "${after[@]}" "$folder/$stage.sbatch")
    jobs[$run]=${id%%;*}
    echo "$stage: job ${jobs[$run]}${after[*]:+, after job ${jobs[$parent]}}"
}

<<stages>>"""


def slurm_files(stages: Sequence[PlannedStage], cluster: Cluster, *, folder: Path) -> dict[str, str]:
    """Give a job script for every stage, what its processes run, and the script that submits the graph."""
    jobs = {f"{stage.file_name}.sbatch": job_script(stage, cluster, folder=folder) for stage in stages}
    assert len(jobs) == len(stages), titles(stages)
    return {**jobs, "slurm_task.sh": TASK, "submit.sh": submit_script(stages, folder=folder)}


def job_script(stage: PlannedStage, cluster: Cluster, *, folder: Path) -> str:
    """Write the job of one stage."""
    place = quote(str(folder))
    header = (
        f"{stage.title} on {cluster}, by the plan about {format_seconds(stage.seconds)}. "
        f"From the project's root: bash {place}/submit.sh"
    )
    return filled(
        SBATCH,
        header=comment(header),
        folder=place,
        name=stage.file_name,
        num_nodes=cluster.num_nodes,
        per_node=devices_of_a_node(cluster),
        share_of_node=share_of_node(cluster),
        time_limit=time_limit(stage.seconds),
        notice_seconds=NOTICE_SECONDS,
        log=quote(f"{folder}/logs/".replace("%", "%%") + "%x-%j.log"),
        preamble=PREAMBLE,
        command=stage.command,
        run=stage.run,
        fewest_nodes=stage.fewest_nodes,
        finished=FINISHED,
    )


def share_of_node(cluster: Cluster) -> str:
    """Ask for all of full nodes, or for a part's share of the memory that nodes of this kind usually have."""
    if devices_of_a_node(cluster) == cluster.device.devices_per_node:
        return "#SBATCH --exclusive\n#SBATCH --mem=0\n"
    return f"#SBATCH --cpus-per-task=4\n#SBATCH --mem-per-gpu={cluster.host_bytes_per_device // GIB}G\n"


def time_limit(seconds: float) -> str:
    """Ask for a quarter more than planned, and for the time to start and to stop, in whole hours; a day at most."""
    hours = math.ceil((1.25 * seconds + 2 * NOTICE_SECONDS) / 3600)
    return f"{min(hours, LONGEST_HOURS):02d}:00:00"


def submit_script(stages: Sequence[PlannedStage], *, folder: Path) -> str:
    """Write what submits all stages, parents first."""
    place = quote(str(folder))
    lines = []
    for stage in stages:
        parent = parent_of(stage, stages)
        origin = parent.run if parent else "''"
        lines.append(f"submit {stage.file_name} {stage.run} {origin}\n")
    header = (
        f"Submit to Slurm {titles(stages)}, each after the one that it starts from: bash {place}/submit.sh [sbatch "
        "options …]\nRun it again at any time: what is complete is passed over, what is in the queue stays there."
    )
    return filled(
        SUBMIT,
        header=comment(header),
        folder=place,
        preamble=PREAMBLE,
        finished=FINISHED,
        stages="".join(lines),
    )
