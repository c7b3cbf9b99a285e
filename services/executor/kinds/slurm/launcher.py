"""Launching on SLURM: one sbatch for all batches of a job that need the same, found again after any doubt.

The intent is a row before sbatch is called, under a marker that SLURM gets as the job's name: a process that dies, or
an answer that is lost, leaves something to look for. What is launched twice in spite of that is settled by the claim.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from services.executor.kinds.kind import Launched
from services.executor.kinds.slurm.evidence import CLOCK_SLACK_SECONDS
from services.executor.kinds.slurm.looks import SchedulerLooks
from services.executor.planning.growth import Growth, growth_of, needs_of
from services.executor.repositories import launches as rows
from services.executor.repositories.jobs import lock_job
from services.executor.repositories.rows import BatchRow, JobRow
from services.executor.repositories.stored_submit import connection_of, max_restarts, submit_of
from services.executor.resources.agents import JobAgents, batch_name, folder_of
from shared.pipes import JOBS, AgentConnection, LaunchOutcome
from shared.remote.common.slurm import LAUNCHES
from shared.service.database.transactions import Database
from shared.service.failpoints import failpoint
from shared.service.logs import get_logger
from shared.slurm.answers.calls import last_words, why_no_answer
from shared.slurm.answers.cluster import partition_of
from shared.slurm.answers.submission import Submission, read_submission
from shared.slurm.requests.script import ArrayPart, batch_script, sbatch_arguments, script_path, split_array
from stoker.contracts.holds import Connection
from stoker.contracts.resources import LocalResourceSpec, SlurmRunnerConfig
from stoker.errors import Unavailable

log = get_logger()

_BUSY_RETRY_SECONDS = 5.0
_LONGEST_BUSY_SECONDS = 300.0


class SlurmLauncher:
    """See `Launcher`. `doubt_seconds`: for so long SLURM shows no trace of a launch until it counts as never made."""

    # SLURM itself waits (KillWait) before it is harsher, and a controller wants few calls.
    recall_again_seconds = 30.0

    def __init__(
        self, *, database: Database, agents: JobAgents, looks: SchedulerLooks, doubt_seconds: float = 30.0
    ) -> None:
        self._database = database
        self._agents = agents
        self._looks = looks
        self._doubt_seconds = doubt_seconds

    async def launch(self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow]) -> Launched:
        """See `Launcher`."""
        connection = await self._agents.connection_of(job)
        answers: dict[str, LaunchOutcome] = {}
        left, most = list(batches), None
        while left:
            for launch in await self._intended(job, connection, left, most):
                if launch.state == "accepted":
                    answers |= _launched(launch, batches)
                    continue
                try:
                    answers |= await self._submit(agent, job, connection, launch, batches)
                except Unavailable as error:
                    # What keeps this one waiting would keep the next ones waiting too.
                    return Launched(answers, error)
            before, left = left, [batch for batch in left if batch_name(batch) not in answers]
            # Those that are left had no launch: SLURM took, or will take, fewer at once.
            most = 2 * (len(before) - len(left))
        return Launched(answers)

    async def recall(self, agent: AgentConnection, job: JobRow, batches: Sequence[BatchRow]) -> None:
        """End whatever SLURM still holds of these batches, by one scancel."""
        async with self._database.read() as database:
            known = await rows.launches_of(database, job.id)
        launches = [launch for launch in known if any(launch.covers(batch.batch_index) for batch in batches)]
        if any(launch.may_be_unknown for launch in launches):
            launches = await self._appeared(agent, job, launches)
        native_ids = [
            launch.native_id(batch.batch_index)
            for launch in launches
            if launch.array_job_id is not None
            for batch in batches
            if launch.covers(batch.batch_index)
        ]
        if native_ids:
            said = await agent.scancel(native_ids)
            if said.exit_code != 0:
                raise Unavailable(f"SLURM has not cancelled: {why_no_answer(said.stderr) or last_words(said.stderr)}")
            failpoint("slurm_launcher.scancelled")

    async def _appeared(
        self, agent: AgentConnection, job: JobRow, launches: Sequence[rows.Launch]
    ) -> list[rows.Launch]:
        """These launches, with the numbers of those that SLURM has taken without anybody having heard of it."""
        queue = await self._looks.queue(await self._agents.connection_of(job))
        numbers = {row.name: row.id.job for row in queue.rows if row.uid == agent.hello.uid}
        return [
            msgspec.structs.replace(launch, array_job_id=numbers.get(launch.marker))
            if launch.may_be_unknown
            else launch
            for launch in launches
        ]

    async def _intended(
        self, job: JobRow, connection: Connection, batches: Sequence[BatchRow], most: int | None
    ) -> list[rows.Launch]:
        """The launches that there are of these batches; where there is none, new intents, of `most` batches."""
        async with self._database.read() as database:
            known = await rows.launches_of(database, job.id)
        if present := _present(known, batches):
            return present
        max_array_size = (await self._looks.cluster(connection)).config.max_array_size
        async with self._database.write() as database:
            await lock_job(database, job.id)
            known = await rows.launches_of(database, job.id)
            if not _present(known, batches):
                parts = _parts(batches, max_array_size)
                await rows.intend(database, job.id, parts if most is None else [parts[0].first(most)], time.time())
                known = await rows.launches_of(database, job.id)
        failpoint("slurm_launcher.intended")
        return _present(known, batches)

    async def _submit(
        self,
        agent: AgentConnection,
        job: JobRow,
        connection: Connection,
        launch: rows.Launch,
        batches: Sequence[BatchRow],
    ) -> dict[str, LaunchOutcome]:
        """Call sbatch for an intent, or learn what became of it. What it answers of is what SLURM had room for."""
        covered = [batch for batch in batches if launch.covers(batch.batch_index)]
        script, arguments = await self._order(agent, job, connection, launch, covered)
        seen = await agent.submit(folder_of(job), marker=launch.marker, script=script, arguments=arguments)
        failpoint("slurm_launcher.submitted")
        if seen.under_way:
            raise Unavailable("sbatch has not answered yet", retry_after_seconds=1.0)
        answer = read_submission(seen.exit_code, seen.stdout, seen.stderr)
        array_job_id = answer.job_id
        if answer.outcome == "doubtful":
            array_job_id = await self._find(agent, connection, launch, answer)
        if array_job_id is not None:
            values = {"state": "accepted", "array_job_id": array_job_id, "uid": agent.hello.uid}
            await self._store(launch, **values)
            failpoint("slurm_launcher.accepted")
            native_ids = {
                batch_name(batch): launch.part.native_id(array_job_id, batch.batch_index) for batch in covered
            }
            return {
                name: LaunchOutcome(state="launched", native_id=native_id) for name, native_id in native_ids.items()
            }
        if answer.outcome == "not_now":
            # Tried again under the same marker: a refusal leaves nothing, however often it comes.
            await _forget(agent, job, launch)
            if launch.part.size == 1:
                pause = min(_LONGEST_BUSY_SECONDS, _BUSY_RETRY_SECONDS * 2 ** min(job.tries, 16))
                message = f"SLURM takes no more jobs at the moment: {answer.text}"
                raise Unavailable(message, retry_after_seconds=pause)
            smaller = launch.part.first(launch.part.size // 2)
            async with self._database.write() as database:
                await rows.shrink(database, launch.marker, smaller)
            launch = msgspec.structs.replace(launch, part=smaller)
            return await self._submit(agent, job, connection, launch, batches)
        await self._store(launch, state="refused")
        log.warning("launch refused", job_id=job.id, marker=launch.marker, reason=answer.text)
        message = f"SLURM refused the job: {answer.text}"
        return {batch_name(batch): LaunchOutcome(state="failed", message=message) for batch in covered}

    async def _order(
        self,
        agent: AgentConnection,
        job: JobRow,
        connection: Connection,
        launch: rows.Launch,
        batches: Sequence[BatchRow],
    ) -> tuple[str, list[str]]:
        """The script of a launch, and sbatch's arguments. Raises Invalid."""
        config = slurm_config_of(job)
        growth = growth_of(batches[0])
        needs = needs_of(job, growth)
        if growth.time:
            partition = partition_of((await self._looks.cluster(connection)).partitions, needs.partition)
            needs = needs_of(job, growth, max_time_seconds=None if partition is None else partition.max_time_seconds)
        folder = f"{agent.hello.roots[JOBS]}/{job.folder}"
        script = batch_script(
            needs,
            parallel=max(batch.parallel for batch in batches),
            python=worker_python_of(job),
            job_folder=folder,
            part=launch.part,
            requeue=max_restarts(submit_of(job)) > 0,
        )
        arguments = sbatch_arguments(
            launch.part,
            script=script_path(folder, launch.marker),
            job_folder=folder,
            marker=launch.marker,
            at_once=config.max_running_jobs if isinstance(config.max_running_jobs, int) else None,
        )
        return script, arguments

    async def _find(
        self, agent: AgentConnection, connection: Connection, launch: rows.Launch, answer: Submission
    ) -> int:
        """The number of a job that SLURM may have taken without saying so.

        Raises Unavailable while that is not known. When it shows no trace of it for long enough, the launch counts as
        lost, and the next call makes another one: should the first appear after all, the claim lets only one run.
        """
        uid, since = agent.hello.uid, launch.intended_at - CLOCK_SLACK_SECONDS
        queue = await self._looks.queue(connection)
        for row in queue.rows:
            if row.uid == uid and launch.marker in (row.name, row.comment):
                return row.id.job
        if (await self._looks.cluster(connection)).config.accounting:
            recorded = await self._looks.accounting(connection, since=since, names=[launch.marker])
            for entry in recorded.rows:
                if entry.uid == uid and launch.marker in (entry.name, entry.comment):
                    return entry.id.job
        now = time.time()
        if not queue.whole:
            await self._store(launch, absent_since=None)
        elif launch.absent_since is None:
            await self._store(launch, absent_since=now)
        elif now - launch.absent_since >= self._doubt_seconds:
            await self._store(launch, state="lost")
            log.warning("launch lost", job_id=launch.job_id, marker=launch.marker, reason=answer.text)
        raise Unavailable(
            f"SLURM did not say whether it took the job ({answer.text}); it is being looked for",
            retry_after_seconds=2.0,
        )

    async def _store(self, launch: rows.Launch, **values: Any) -> None:
        async with self._database.write() as database:
            await rows.store(database, launch.marker, **values)


def slurm_config_of(job: JobRow) -> SlurmRunnerConfig:
    """The runner configuration that a SLURM job was accepted with."""
    config = connection_of(job).resource.spec.jobs_runner_config
    if not isinstance(config, SlurmRunnerConfig):
        raise TypeError("this job is not for SLURM")
    return config


def worker_python_of(job: JobRow) -> str:
    """The interpreter on the cluster that runs the runner."""
    spec = connection_of(job).resource.spec
    if isinstance(spec, LocalResourceSpec):
        raise TypeError("this job is not for SLURM")
    return spec.jobs_slurm_python_worker


def _current(known: Sequence[rows.Launch], batch: BatchRow) -> rows.Launch | None:
    """The launch that a batch is to have: accepted, or still in doubt."""
    found = [one for one in known if one.covers(batch.batch_index) and one.state in ("intended", "accepted")]
    return found[-1] if found else None


def _present(known: Sequence[rows.Launch], batches: Sequence[BatchRow]) -> list[rows.Launch]:
    return [launch for launch in known if any(_current(known, batch) is launch for batch in batches)]


async def _forget(agent: AgentConnection, job: JobRow, launch: rows.Launch) -> None:
    """Remove what a call of sbatch left that SLURM has refused: the same marker may then be tried again."""
    folder = folder_of(job) / LAUNCHES
    for ending in ("sh", "out", "err", "exit", "intent"):  # the intent last: until then nothing is tried
        await agent.remove(folder / f"{launch.marker}.{ending}")


def _parts(batches: Sequence[BatchRow], max_array_size: int) -> list[ArrayPart]:
    """Divide batches over arrays: those of one array get the same from SLURM."""
    groups: defaultdict[Growth, list[int]] = defaultdict(list)
    for batch in batches:
        groups[growth_of(batch)].append(batch.batch_index)
    return [part for indices in groups.values() for part in split_array(sorted(indices), max_array_size)]


def _launched(launch: rows.Launch, batches: Sequence[BatchRow]) -> dict[str, LaunchOutcome]:
    return {
        batch_name(batch): LaunchOutcome(state="launched", native_id=launch.native_id(batch.batch_index))
        for batch in batches
        if launch.covers(batch.batch_index)
    }
