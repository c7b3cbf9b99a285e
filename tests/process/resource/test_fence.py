"""The fence: whatever is launched or revoked at the same moment, a batch is run by exactly one, or by nobody."""

import asyncio
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from shared.pipes import JOBS, AgentConnection, LaunchOutcome, Place
from shared.pipes.local import open_local_pipe
from shared.remote.common import claims
from tests.workshop import Workshop, results_of, soon

ROUNDS = 1000

Launches = asyncio.Task[dict[str, LaunchOutcome]]


def contend(folder: str, name: str, kind: str, together: Barrier) -> None:
    """Try to claim each of the folders at the same moment as the others; leave a note about who holds it."""
    for number in range(ROUNDS):
        batch = os.open(f"{folder}/{number}", os.O_RDONLY)
        wanted = claims.Claim(kind=kind, native_id=name, pid=os.getpid())
        together.wait(60)
        holder = claims.take(batch, wanted)
        won = "won" if holder.nonce == wanted.nonce else "lost"
        os.close(os.open(f"{won}.{name}.{holder.nonce}", os.O_WRONLY | os.O_CREAT, dir_fd=batch))
        os.close(batch)


@pytest.mark.timeout(180)
def test_a_thousand_claims_by_two_launches_and_a_revocation_have_one_winner_each(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        (tmp_path / str(number)).mkdir()
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    kinds = {"a": claims.RUNNER, "b": claims.RUNNER, "service": claims.REVOKED}
    processes = [
        context.Process(target=contend, args=(str(tmp_path), name, kind, together)) for name, kind in kinds.items()
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(150)
        assert process.exitcode == 0
    winners = set()
    for number in range(ROUNDS):
        notes = [path.name.split(".") for path in (tmp_path / str(number)).iterdir() if path.name != "claim"]
        won = [note for note in notes if note[0] == "won"]
        assert len(notes) == 3, "no temporary file is left"
        assert len(won) == 1
        assert len({note[2] for note in notes}) == 1, "all agree on who holds it"
        winners.add(won[0][1])
    assert len(winners) > 1, "they really raced"


@pytest.mark.anyio
async def test_launching_twice_while_revoking_through_three_agents_runs_it_once_or_never(
    workshop: Workshop, tmp_path: Path
) -> None:
    agents = [await AgentConnection.open(await open_local_pipe(), {JOBS: str(tmp_path)}) for _ in range(3)]
    outcomes = set()
    for number in range(30):
        job = workshop.job()
        folder = job.add(["sh", "-c", "echo x >> ran"], [{}])
        place = Place(JOBS, job.path.name)

        launches = [asyncio.create_task(agent.launch(place, ["00000"])) for agent in agents[:2]]

        async def revoke(place: Place = place, number: int = number, launches: list[Launches] = launches) -> str:
            if number % 10 == 9:  # so that a runner surely wins some
                await asyncio.wait(launches)
            await asyncio.sleep(0.005 * (number % 10))
            return (await agents[2].revoke(place, ["00000"]))["00000"].claim.kind

        first, second, holder = await asyncio.gather(*launches, revoke())
        assert first["00000"] == second["00000"]
        outcomes.add(holder)
        ran = job.path / "work" / "ran"
        if holder == "revoked":
            assert first["00000"].state == "revoked"
            assert not ran.exists()
            assert not (folder / "end.json").exists()
        else:
            assert first["00000"].state == "launched"
            await soon(lambda folder=folder: (folder / "end.json").exists())
            assert ran.read_text() == "x\n"
            assert len(results_of(folder)) == 1
    assert outcomes == {"runner", "revoked"}
    for agent in agents:
        await agent.close()


@pytest.mark.anyio
async def test_two_launches_at_once_run_it_once_and_the_loser_leaves_a_trace(
    workshop: Workshop, tmp_path: Path
) -> None:
    agents = [await AgentConnection.open(await open_local_pipe(), {JOBS: str(tmp_path)}) for _ in range(2)]
    traces = 0
    for _ in range(20):
        job = workshop.job()
        folder = job.add(["sh", "-c", "echo {unit} >> ran"], [{}] * 3)
        place = Place(JOBS, job.path.name)
        first, second = await asyncio.gather(*(agent.launch(place, ["00000"]) for agent in agents))
        assert first["00000"] == second["00000"]
        await soon(lambda folder=folder: (folder / "end.json").exists())
        assert sorted((job.path / "work" / "ran").read_text().split()) == ["0", "1", "2"]
        traces += len(list(folder.glob("lost-claim.*")))
    assert traces > 0
    for agent in agents:
        await agent.close()


def test_a_damaged_claim_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "claim").write_text("{")
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(claims.ClaimUnreadable):
        claims.take(folder, claims.Claim(kind=claims.REVOKED))
    os.close(folder)
