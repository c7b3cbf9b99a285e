"""sacctmgr: what a user may do under which account."""

import msgspec

from shared.slurm.answers.rows import read_whole_number
from shared.slurm.requests.times import read_limit

_WIDTH = 8


class Association(msgspec.Struct, frozen=True, kw_only=True):
    """One account that a user may use, with the limits that are set on this very association (None: none is).

    `partition` is empty where it holds for every partition. Limits of parent accounts and of QOS are not in it.
    """

    cluster: str
    account: str
    partition: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""
    max_jobs: int | None = None
    max_submit_jobs: int | None = None
    max_wall_seconds: float | None = None


def read_associations(text: str) -> list[Association]:
    """Read `sacctmgr --noheader --parsable2 show assoc` with the fields of the agent's verb `cluster`.

    Those are cluster, account, partition, QOS, default QOS, MaxJobs, MaxSubmitJobs and MaxWall. Never raises; lines
    of another form are left out.
    """
    rows = [line.split("|") for line in text.splitlines()]
    return [
        Association(
            cluster=row[0],
            account=row[1],
            partition=row[2],
            qos=tuple(word for word in row[3].split(",") if word),
            default_qos=row[4],
            max_jobs=read_whole_number(row[5]),
            max_submit_jobs=read_whole_number(row[6]),
            max_wall_seconds=read_limit(row[7]) if row[7] else None,
        )
        for row in rows
        if len(row) == _WIDTH
    ]
