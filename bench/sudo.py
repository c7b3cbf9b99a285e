"""400 units of `python3 -c pass` in 4 batches with 4 at once, through sudo: the services against the usual script.

`python bench/sudo.py [--quick]`, as root (it starts a private SLURM with users of its own), prints a table with the
ratios and writes bench/results/sudo.json. The usual script does in the same run on the same cluster what such
platforms do: one sbatch per batch through sudo, one `srun` per unit inside the allocation, squeue until all have
ended, and three commands through sudo (`cat`, `cat`, `ls`) per unit to bring its result back. It too has 4 units at
once, polls as often as the services, and keeps every slot busy.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.servers.slurm.cluster import SlurmCluster
from tests.servers.slurm.configuration import FULL
from tests.servers.slurm.installation import PublicInstallation
from tests.servers.slurm.users import ClusterUsers, supplementary_groups
from tests.servers.slurm.workspace import Workspace
from tests.workshop.sudo_site import SYSTEM_PYTHON, SudoSite

RESULTS = Path(__file__).parent / "results" / "sudo.json"
PROGRAMS = ("sudo", "sbatch", "squeue", "srun")
BATCHES, AT_ONCE, POLL_SECONDS = 4, 4, 1
AIM_RATIO = 5.0

USUAL_SCRIPT = """
import json, subprocess, sys, time
commands, user, folder, units, batches, at_once, poll_seconds = json.loads(sys.argv[1])
def sudo(*words, text=None):
    words = [commands + "/sudo", "-n", "-u", user, "--", *words]
    return subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout
sudo("mkdir", "-p", folder)
jobs, share = [], units // batches
for batch in range(batches):
    first, last = batch * share, (batch + 1) * share - 1
    step = f"{commands}/srun --ntasks=1 --cpus-per-task=1 --mem=100M sh -c"
    unit = "'/usr/bin/python3 -c pass >'%s'/{}.out 2>'%s'/{}.err'" % (folder, folder)
    script = f"#!/bin/sh\\nseq {first} {last} | xargs -P {at_once} -I {{}} {step} {unit}\\n"
    options = ["--parsable", f"--ntasks={at_once}", "--nodes=1", f"--mem={100 * at_once}M", "--partition=main"]
    jobs.append(sudo(commands + "/sbatch", *options, f"--output={folder}/{batch}.log", text=script).strip())
while True:
    left = subprocess.run([commands + "/squeue", "-h", "-j", ",".join(jobs)], capture_output=True, text=True).stdout
    if not left.strip():
        break
    time.sleep(poll_seconds)
done = 0
for unit in range(units):
    done += sudo("cat", f"{folder}/{unit}.out") == ""
    sudo("cat", f"{folder}/{unit}.err")
    sudo("ls", folder + f"/{unit}.out")
print(done)
"""


@contextmanager
def site() -> Iterator[SudoSite]:
    """A cluster with services beside it."""
    workspace = Workspace()
    try:
        cluster = SlurmCluster(short_name="bench", plan=FULL, workspace=workspace, users=ClusterUsers(workspace))
        folder = workspace.folder / "installation"
        folder.mkdir(mode=0o755)
        made = SudoSite(cluster, PublicInstallation(folder))
        try:
            cluster.start()
            made.start()
            yield made
        finally:
            made.stop()
            cluster.stop()
    finally:
        workspace.remove()


def cpu_seconds(root: int) -> float:
    """CPU time of a process, of all below it, and of those of them that have ended."""
    parents, times = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            times[int(folder.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    chosen = {root}
    while more := {pid for pid, parent in parents.items() if parent in chosen} - chosen:
        chosen |= more
    return sum(times.get(pid, 0.0) for pid in chosen)


async def ours(site: SudoSite, units: int) -> dict[str, float]:
    """Submit, wait, read every result; the pipes are not open before."""
    ada, commands = site.cluster.users.ada, site.cluster.commands
    batching = {"target_cpus_per_job": AT_ONCE, "max_cpus_per_job": AT_ONCE, "target_num_jobs": BATCHES}
    batching |= {"max_num_jobs": BATCHES, "target_mem_per_job": 100 * AT_ONCE, "max_mem_per_job": 100 * AT_ONCE}
    profile = await site.profile_on(ada, jobs_runner_config={"batching_config": batching})
    commands.forget()
    supervisor = site.stack.record.supervisor_pid
    began, used = time.perf_counter(), cpu_seconds(supervisor)
    job = await site.run(ada, [SYSTEM_PYTHON, "-c", "pass"], units, profile_id=profile)
    async with site.stack.executor() as executor:
        states = Counter([result.state async for result in executor.results(job.id)])
    seconds = time.perf_counter() - began
    assert states == {"succeeded": units}, states
    assert len(await site.batches(job.id)) == BATCHES
    return {"seconds": seconds, "cpu_seconds": cpu_seconds(supervisor) - used, **calls(site)}


def usual(site: SudoSite, units: int) -> dict[str, float]:
    """The usual script, as the user that services run as; what it starts as the scientist is allowed to it here."""
    cluster, service = site.cluster, site.service_user
    cluster.sudoers.write("usual", f"{service.name} ALL=({cluster.users.ada.name}) NOPASSWD: ALL\n")
    folder = f"{cluster.users.ada.home}/usual"
    words = [str(cluster.commands.folder), cluster.users.ada.name, folder, units, BATCHES, AT_ONCE, POLL_SECONDS]
    cluster.commands.forget()
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", USUAL_SCRIPT, json.dumps(words)],
        env={**service.environment, "PATH": cluster.commands.path},
        user=service.uid,
        group=service.gid,
        extra_groups=supplementary_groups(service),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.strip() == str(units), done
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": used, **calls(site)}


def calls(site: SudoSite) -> dict[str, float]:
    """How often each program was started since the counting began."""
    # What asks sbatch for its version only submits nothing.
    made = [call for call in site.cluster.commands.calls() if call.arguments != ("--version",)]
    counted = Counter(call.program for call in made)
    return {name: counted[name] for name in PROGRAMS}


def main() -> None:
    """Measure, print, write."""
    if os.geteuid() != 0:
        sys.exit("bench/sudo.py has to be run as root: it makes users")
    units = 80 if "--quick" in sys.argv else 400
    with site() as made:
        stoker = asyncio.run(ours(made, units))
        script = usual(made, units)
    ratio = script["seconds"] / stoker["seconds"]
    print(f"{units} units in {BATCHES} batches, {AT_ONCE} at once{'':<10}{'stoker':>10} {'script':>10} {'ratio':>8}")
    for name, value in stoker.items():
        times = f"{script[name] / value:8.1f}" if value else f"{'-':>8}"
        print(f"{name:<49}{value:10.1f} {script[name]:10.1f} {times}")
    print(f"aim: {AIM_RATIO:g} times faster: {'reached' if ratio >= AIM_RATIO else 'MISSED'}")
    RESULTS.parent.mkdir(exist_ok=True)
    figures = {"units": units, "stoker": stoker, "script": script, "ratio": ratio, "aim_ratio": AIM_RATIO}
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
