"""Launching, finding, revoking and cancelling through a real agent, with real processes that are really killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.pipes import JOBS, AgentConnection, Evidence, FollowTarget, Place, StagedFile, complete_lines
from shared.pipes.local import open_local_pipe
from tests.workshop import JobFolder, Workshop, processes_marked, records, results_of, soon

pytestmark = pytest.mark.anyio


def place_of(job: JobFolder) -> Place:
    return Place("jobs", job.path.name)


async def found(agent: AgentConnection, job: JobFolder) -> Evidence:
    return (await agent.find(place_of(job), ["00000"]))["00000"]


async def eventually_dead(agent: AgentConnection, job: JobFolder) -> Evidence:
    deadline = time.monotonic() + 120
    while (evidence := await found(agent, job)).claim_alive is not False:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return evidence


async def test_a_launch_is_found_alive_and_then_ended(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    folder = job.add(["sh", "-c", "until [ -e go ]; do sleep 0.02; done"], [{}] * 2)
    launch = (await agent.launch(place_of(job), ["00000"]))["00000"]
    evidence = await found(agent, job)

    assert launch.state == "launched"
    assert evidence.claim is not None
    assert evidence.claim.native_id == launch.native_id
    assert evidence.claim_alive is True
    assert not evidence.ended
    (job.path / "work" / "go").touch()
    evidence = await eventually_dead(agent, job)
    assert evidence.ended
    assert evidence.end is not None
    assert (evidence.end.how, evidence.end.results) == ("complete", 2)
    assert evidence.results_length == (folder / "results.jsonl").stat().st_size


async def test_launching_again_repeats_the_answer(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    job.add(["sh", "-c", "echo x >> ran"], [{}])
    first = await agent.launch(place_of(job), ["00000"])
    await eventually_dead(agent, job)

    assert await agent.launch(place_of(job), ["00000"]) == first
    assert (job.path / "work" / "ran").read_text() == "x\n"


async def test_a_runner_outlives_its_agent(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    folder = job.add(["sh", "-c", "until [ -e go ]; do sleep 0.02; done"], [{}])
    await agent.launch(place_of(job), ["00000"])
    await agent.close()
    (job.path / "work" / "go").touch()
    await soon((folder / "end.json").exists)
    assert results_of(folder)[0]["outcome"] == "succeeded"


async def test_a_revoked_batch_never_starts(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    job.add(["touch", "ran"], [{}])
    revoked = (await agent.revoke(place_of(job), ["00000"]))["00000"]
    launch = (await agent.launch(place_of(job), ["00000"]))["00000"]

    assert revoked.claim.kind == "revoked"
    assert launch.state == "revoked"
    assert not (job.path / "work" / "ran").exists()


async def test_a_revocation_before_the_folder_exists_stops_what_comes_late(agent: AgentConnection) -> None:
    late = Place("jobs", "2026-11/late")
    assert (await agent.revoke(late, ["00000"]))["00000"].claim.kind == "revoked"
    assert not await agent.stage(late, [StagedFile("runner.py", b"")])
    assert (await agent.launch(late, ["00000"]))["00000"].state == "revoked"


async def test_a_killed_runner_leaves_no_process_and_keeps_its_results(
    workshop: Workshop, agent: AgentConnection
) -> None:
    job = workshop.job()
    script = """
if [ {unit} -ge 3 ]; then
    setsid sh -c 'trap "" TERM; sleep 1000 & sleep 1000' &
    echo $! > started-{unit}; sleep 1000
fi
"""
    folder = job.add(["sh", "-c", script], [{}] * 6)
    await agent.launch(place_of(job), ["00000"])
    await soon(lambda: len(list((job.path / "work").glob("started-*"))) == 2)
    evidence = await found(agent, job)
    assert evidence.claim is not None
    os.kill(evidence.claim.pid, signal.SIGKILL)

    evidence = await eventually_dead(agent, job)
    assert evidence.claim is not None
    assert not evidence.ended
    assert not processes_marked(job.marks[0])
    assert sorted(results_of(folder)) == [0, 1, 2]
    assert "killed by signal 9" in evidence.runner_log_tail
    revoked = (await agent.revoke(place_of(job), ["00000"]))["00000"]
    assert (revoked.claim.kind, revoked.alive, revoked.strays_ended) == ("runner", False, 0)


async def test_revoking_ends_what_a_runner_left_that_was_killed_with_its_guardian(
    workshop: Workshop, agent: AgentConnection
) -> None:
    job = workshop.job()
    job.add(["sh", "-c", "setsid sleep 1000 & touch started-{unit}; sleep 1000"], [{}] * 2)
    await agent.launch(place_of(job), ["00000"])
    await soon(lambda: len(list((job.path / "work").glob("started-*"))) == 2)
    evidence = await found(agent, job)
    assert evidence.claim is not None
    guardian = int(Path(f"/proc/{evidence.claim.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guardian, signal.SIGSTOP)
    os.kill(evidence.claim.pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)

    await eventually_dead(agent, job)
    revoked = (await agent.revoke(place_of(job), ["00000"]))["00000"]
    assert revoked.alive is False
    assert revoked.strays_ended >= 2
    assert revoked.strays_left == 0
    assert not processes_marked(job.marks[0])


async def test_a_runner_whose_guardian_is_killed_stops_by_itself(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    folder = job.add(["sh", "-c", "setsid sleep 1000 & touch started-{unit}; sleep 1000"], [{}] * 2)
    await agent.launch(place_of(job), ["00000"])
    await soon(lambda: len(list((job.path / "work").glob("started-*"))) == 2)
    evidence = await found(agent, job)
    assert evidence.claim is not None
    os.kill(int(Path(f"/proc/{evidence.claim.pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)

    evidence = await eventually_dead(agent, job)
    assert evidence.end is not None
    assert evidence.end.how == "interrupted"
    assert not processes_marked(job.marks[0])
    assert {one["outcome"] for one in results_of(folder).values()} == {"interrupted"}


async def test_cancel_ends_whole_process_trees_and_keeps_what_had_finished(
    workshop: Workshop, agent: AgentConnection
) -> None:
    job = workshop.job()
    script = """
if [ {unit} -ge 3 ]; then
    trap '' TERM
    setsid setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
    (setsid sh -c 'exec env -i sleep 1000' & echo $! > hidden-{unit})
    touch started-{unit}
    while :; do sleep 1; done
fi
"""
    folder = job.add(["sh", "-c", script], [{}] * 8)
    await agent.launch(place_of(job), ["00000"])
    await soon(lambda: len(list((job.path / "work").glob("started-*"))) == 2)
    hidden = [int(one.read_text()) for one in (job.path / "work").glob("hidden-*")]
    cancelled = (await agent.cancel(place_of(job), ["00000"]))["00000"]
    evidence = await eventually_dead(agent, job)

    assert cancelled.signalled
    assert not processes_marked(job.marks[0])
    assert not any(Path(f"/proc/{pid}").exists() for pid in hidden)
    assert evidence.end is not None
    assert evidence.end.how == "interrupted"
    outcomes = {unit: one["outcome"] for unit, one in results_of(folder).items()}
    assert outcomes == {0: "succeeded", 1: "succeeded", 2: "succeeded", 3: "interrupted", 4: "interrupted"}
    again = (await agent.cancel(place_of(job), ["00000"]))["00000"]
    assert (again.alive, again.signalled) == (False, False)


async def test_a_cancel_before_the_start_lets_nothing_run(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    job.add(["touch", "ran"], [{}])
    assert not (await agent.cancel(place_of(job), ["00000"]))["00000"].signalled
    await agent.launch(place_of(job), ["00000"])
    evidence = await eventually_dead(agent, job)

    assert evidence.end is not None
    assert evidence.end.how == "interrupted"
    assert not (job.path / "work" / "ran").exists()


async def test_a_batch_that_was_not_staged_is_a_failed_launch_in_words(
    workshop: Workshop, agent: AgentConnection
) -> None:
    job = workshop.job()
    (job.path / "batches" / "00001").mkdir(parents=True)
    launches = await agent.launch(place_of(job), ["00000", "00001"])

    assert {one.state for one in launches.values()} == {"failed"}
    assert "there is no such batch" in launches["00000"].message
    assert "batch.json is missing" in launches["00001"].message


async def test_a_runner_that_cannot_start_says_why_and_can_be_launched_again(
    workshop: Workshop, agent: AgentConnection
) -> None:
    job = workshop.job()
    folder = job.add(["true"], [{}], format=99)
    assert "format 99" in (await agent.launch(place_of(job), ["00000"]))["00000"].message
    batch = json.loads((folder / "batch.json").read_text())
    (folder / "batch.json").write_text(json.dumps(batch | {"format": 1}))
    assert (await agent.launch(place_of(job), ["00000"]))["00000"].state == "launched"
    assert (await eventually_dead(agent, job)).ended


async def test_a_half_written_line_is_not_a_result(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    folder = job.add(["true"], [{}] * 3)
    await agent.launch(place_of(job), ["00000"])
    await eventually_dead(agent, job)
    with (folder / "results.jsonl").open("ab") as results:
        results.write(b'{"unit":99,"attem')
    data = await agent.read_slice(place_of(job) / "batches/00000/results.jsonl", 0, 1_000_000)
    lines, used = complete_lines(data.data)
    assert sorted(json.loads(line)["unit"] for line in lines) == [0, 1, 2]
    assert used < data.size


async def test_follow_says_what_grows_and_when_it_ends(workshop: Workshop, agent: AgentConnection) -> None:
    job = workshop.job()
    folder = job.add(["sh", "-c", "sleep 0.05"], [{}] * 20)
    launch = (await agent.launch(place_of(job), ["00000"]))["00000"]
    target = FollowTarget(root="jobs", path=f"{job.path.name}/batches/00000", native_id=launch.native_id)
    lengths = []
    async with agent.follow([target]) as seen, asyncio.timeout(120):
        async for one in seen:
            lengths.append(one.results_length)
            if one.ended and one.alive is False:
                break
    assert lengths == sorted(lengths)
    assert lengths[-1] == (folder / "results.jsonl").stat().st_size
    assert records(folder / "events.jsonl")[-1]["event"] == "end"


async def test_following_what_does_not_change_costs_next_to_nothing(
    workshop: Workshop, agent: AgentConnection
) -> None:
    job = workshop.job()
    job.add(["true"], [{}])
    target = FollowTarget(root="jobs", path=f"{job.path.name}/batches/00000")
    pid = agent._exchange._pipe.pid  # type: ignore[attr-defined]

    def cpu_seconds() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async with agent.follow([target]) as seen:
        await anext(seen)
        before, began = cpu_seconds(), time.monotonic()
        await asyncio.sleep(6)
        share = (cpu_seconds() - before) / (time.monotonic() - began)
    assert share < 0.005


async def test_units_get_nothing_of_the_services_environment(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOKER_SERVICE_KEY", "stk_secret_of_the_service")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    agent = await AgentConnection.open(await open_local_pipe(), {JOBS: str(tmp_path)})
    job = workshop.job()
    folder = job.add(["env"], [{}])
    await agent.launch(place_of(job), ["00000"])
    await eventually_dead(agent, job)
    pid = agent._exchange._pipe.pid  # type: ignore[attr-defined]
    surroundings = Path(f"/proc/{pid}/environ").read_text()
    await agent.close()
    for text in ((folder / "logs" / "slot-0.log").read_text(), surroundings):
        assert "secret" not in text
        assert "STOKER_SERVICE_KEY" not in text
        assert "PYTHONPATH" not in text


def test_the_runner_file_needs_nothing_but_python(workshop: Workshop) -> None:
    folder = workshop.batch(["true"], [{}])
    script = str(workshop.jobs[0].path / "runner.py")
    command = [sys.executable, "-I", "-S", script, str(folder), "--native-id=x"]
    done = subprocess.run(command, env={}, cwd="/", check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
