"""The files that start a plan's stages without a scheduler: DeepSpeed's launcher on one machine, or on several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import UserError
from codellama_train.planning.devices import Cluster
from codellama_train.planning.launching_stages import (
    FINISHED,
    PREAMBLE,
    PlannedStage,
    comment,
    devices_of_a_node,
    filled,
    quote,
    quoted,
    titles,
)

PLACEHOLDER = "replace-by-host-"
# A shared file system may show other machines a new file late: NFS remembers for 30 to 60 s that a folder lacks it.
SHOWN_AFTER_SECONDS = 90

ONE_MACHINE = """\
#!/usr/bin/env bash
<<header>><<preamble>><<stages>>"""

HOSTFILE_CHECK = """
hostfile=$(dirname "${BASH_SOURCE[0]}")/hostfile
if grep -q '^<<placeholder>>' "$hostfile"; then
    echo "error: $hostfile holds placeholders; write your machines' host names there, one a line" >&2
    exit 2
fi
"""

OVER_SSH = """\
#!/usr/bin/env bash
<<header>><<preamble>><<check>>
# MASTER_ADDR: an address of the first machine that all reach, where the first that `hostname -I` gives there is none.
# MASTER_PORT: a port that is free there. Of the environment, DeepSpeed hands on what begins with NCCL, PYTHON or UCX,
# and what .deepspeed_env lists, a file here or in the home folder.
options=(--hostfile "$hostfile" --master_port "${MASTER_PORT:-29500}")
if [ -n "${MASTER_ADDR:-}" ]; then
    options+=(--master_addr "$MASTER_ADDR")
fi

train() { # recipe key=value …
    deepspeed "${options[@]}" scripts/train.py "$@"
}
<<stages>>"""

WITHOUT_SSH = """\
#!/usr/bin/env bash
<<header>><<preamble>><<check>>
if [ $# -ne 1 ]; then
    echo "usage: bash ${BASH_SOURCE[0]} PLACE, this machine's place in $hostfile, counted from 0" >&2
    exit 2
fi
read -r first_host _ < <(grep -v -e '^#' -e '^$' "$hostfile")
# MASTER_ADDR: an address of the first machine that all reach, where its name in the hostfile is none.
# MASTER_PORT: a port that is free there.
options=(--hostfile "$hostfile" --no_ssh --node_rank "$1")
options+=(--master_addr "${MASTER_ADDR:-$first_host}" --master_port "${MASTER_PORT:-29500}")

train() { # recipe key=value …
    deepspeed "${options[@]}" scripts/train.py "$@"
}
<<stages>>"""

COMPLETE = """
require_complete() { # stage, its run folder: what starts from it waits until this machine sees that it is complete
    local seconds
    for ((seconds = 0; seconds < <<seconds>>; seconds++)); do
        if [ -f "$2/<<finished>>" ]; then
            return
        fi
        sleep 1
    done
    echo "$1 has stopped before its end; run this again to go on" >&2
    exit 1
}
"""


def host_files(
    stages: Sequence[PlannedStage], cluster: Cluster, *, folder: Path, hosts: Sequence[str]
) -> dict[str, str]:
    """Give launch.sh and, for several machines, the hostfile and the script for machines without ssh."""
    names, place = titles(stages), quote(str(folder))
    values = {
        "preamble": PREAMBLE,
        "check": filled(HOSTFILE_CHECK, placeholder=PLACEHOLDER),
    }
    again = "Run again, it resumes; what is complete is passed over."
    if cluster.num_nodes == 1:
        header = f"Train {names} on one machine with {cluster}: bash {place}/launch.sh\n{again}"
        program = f"deepspeed --num_accelerators {cluster.num_devices} scripts/train.py"
        text = one_after_the_other(stages, [f"{program} {stage.command}" for stage in stages], seconds=1)
        return {"launch.sh": filled(ONE_MACHINE, **values, header=comment(header), stages=text)}
    machines = f"{cluster.num_nodes} machines, {cluster} in all"
    shared = "Every machine needs this project, this Python, the data and the runs under the same paths."
    over_ssh = (
        f"Train {names} on {machines}: bash {place}/launch.sh\nRun it where ssh reaches every machine of the hostfile "
        f"without a password, and pdsh is installed. {shared}\n{again}"
    )
    text = one_after_the_other(stages, [f"train {ssh_command(stage)}" for stage in stages], seconds=SHOWN_AFTER_SECONDS)
    files = {
        "hostfile": hostfile(cluster, hosts=hosts),
        "launch.sh": filled(OVER_SSH, **values, header=comment(over_ssh), stages=text),
    }
    without_ssh = (
        f"Train {names} on {machines}, without ssh between them.\nOn each machine, within ten minutes of each other, "
        f"with its place in the hostfile, counted from 0: bash {place}/launch_node.sh PLACE\n{shared}\n{again}"
    )
    text = one_after_the_other(stages, [f"train {stage.command}" for stage in stages], seconds=SHOWN_AFTER_SECONDS)
    return {**files, "launch_node.sh": filled(WITHOUT_SSH, **values, header=comment(without_ssh), stages=text)}


def one_after_the_other(stages: Sequence[PlannedStage], commands: Sequence[str], *, seconds: int) -> str:
    """Train stage by stage; one that ends incomplete, having been asked to stop, ends it all."""
    *earlier, last = commands
    if not earlier:
        return f"\n{last}\n"
    text = filled(COMPLETE, seconds=seconds, finished=FINISHED)
    for stage, command in zip(stages, earlier, strict=False):
        text += f"\n{command}\nrequire_complete {stage.file_name} {stage.run}\n"
    return f"{text}\n{last}\n"


def ssh_command(stage: PlannedStage) -> str:
    """Quote the recipe and its overrides once more, for the shells of the other machines, which read them again."""
    return quoted([word_for_ssh(word) for word in stage.words])


def word_for_ssh(word: str) -> str:
    """Quote a word as DeepSpeed does not: it puts double quotes around words with a space, and escapes only these."""
    return re.sub(r"[\\$`]", r"\\\g<0>", word) if " " in word else quote(word)


def hostfile(cluster: Cluster, *, hosts: Sequence[str] = ()) -> str:
    """Write DeepSpeed's list of machines, with their numbers of devices; placeholders without `hosts`."""
    if hosts and len(hosts) != cluster.num_nodes:
        raise UserError(f"--hosts names {len(hosts)} machines; {cluster} is {cluster.num_nodes}")
    names = hosts or [f"{PLACEHOLDER}{number}" for number in range(1, cluster.num_nodes + 1)]
    return "".join(f"{name} slots={devices_of_a_node(cluster)}\n" for name in names)
