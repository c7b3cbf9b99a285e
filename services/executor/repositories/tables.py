"""The executor's tables. Times are epoch seconds (float, UTC); JSON columns hold JSON text made by msgspec."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(26)
NO_BATCH = -1
"""`units.batch_index` of a unit that waits for a batch of its next attempt."""
_UNMEASURED = text("ended_at IS NOT NULL AND disk_bytes IS NULL")
_UNENDED = text("ended_at IS NULL")
"""Few among many: what looks for work, or for what is to be watched, must not grow with history."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("owner", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("profile_id", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    # work, or activity: what is done to an environment, which callers see at places of its own.
    Column("kind", String(16), nullable=False, server_default="work"),
    # local, or slurm: who launches its batches and knows whether they live.
    Column("placement", String(16), nullable=False, server_default="local"),
    Column("environment_id", Id),
    Column("task", Text),
    Column("command", Text, nullable=False),
    # The submit call without its units and files, and the folders and runner configuration it was accepted with.
    Column("spec", Text, nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("unit_count", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("running", Integer, nullable=False, server_default="0"),
    Column("succeeded", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    Column("waiting_for", Text),
    Column("staged", Boolean, nullable=False, server_default=false()),
    Column("cancel_requested_at", Float),
    Column("cancel_requested_by", Text),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("disk_bytes", BigInteger),
    Column("last_sequence", Integer, nullable=False, server_default="0"),
    # Leases spare double effort and nothing more: what keeps work from running twice is the claim on the resource.
    Column("lease_holder", Text),
    Column("lease_until", Float, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", Float, nullable=False, server_default="0"),
    Column("idempotency_key", Text),
    Column("body_sha256", String(64)),
    UniqueConstraint("key_id", "idempotency_key"),
    Index("ix_jobs_state_id", "state", "id"),
    Index("ix_jobs_owner_id", "owner", "id"),
    Index("ix_jobs_owner_state_id", "owner", "state", "id"),
    Index("ix_jobs_name_id", "name", "id"),
    Index("ix_jobs_unended", "next_try_at", "id", postgresql_where=_UNENDED, sqlite_where=_UNENDED),
    Index("ix_jobs_profile_id", "profile_id"),
    Index("ix_jobs_ended_at", "ended_at"),
    Index("ix_jobs_environment_id", "environment_id"),
    # Ended jobs whose disk use has not been measured yet: few among many.
    Index("ix_jobs_unmeasured", "ended_at", postgresql_where=_UNMEASURED, sqlite_where=_UNMEASURED),
)

job_files = Table(
    "job_files",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("batch_index", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("unit_count", Integer, nullable=False),
    Column("parallel", Integer, nullable=False),
    # 0, or 1: the compute units of a compound task.
    Column("phase", Integer, nullable=False, server_default="0"),
    Column("native_id", Text),
    Column("host", Text),
    Column("reason", Text),
    Column("staged", Boolean, nullable=False, server_default=false()),
    # How often a lack of memory, or of time, ended its units' attempts before: each time they get more.
    Column("memory_growth", Integer, nullable=False, server_default="0"),
    Column("time_growth", Integer, nullable=False, server_default="0"),
    # How many batches before it, whose units it took over, had ended one after the other without beginning any.
    Column("fruitless", Integer, nullable=False, server_default="0"),
    # Why it does not run yet, in words, and SLURM's estimate of when it will.
    Column("note", Text),
    Column("estimated_start", Float),
    # SLURM's word as it was last looked at (`shared.slurm.digest`), and what it said when it was first over.
    Column("scheduler", Text),
    Column("end_seen", Text),
    # How far events.jsonl and results.jsonl have been read; moved in the transaction that stores what was read.
    Column("events_offset", BigInteger, nullable=False, server_default="0"),
    Column("results_offset", BigInteger, nullable=False, server_default="0"),
    # How many records in them were left out, and what else in its folder is not what it should be.
    Column("left_out", Integer, nullable=False, server_default="0"),
    Column("remark", Text),
    Column("absent_since", Float),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("cpu_seconds", Float),
    Column("peak_memory_bytes", BigInteger),
    UniqueConstraint("job_id", "batch_index"),
    Index("ix_batches_job_id_state", "job_id", "state"),
    Index("ix_batches_unended", "job_id", "state", postgresql_where=_UNENDED, sqlite_where=_UNENDED),
)

# Calls of sbatch, each under a marker of its own, by which SLURM knows it too. A batch may be in several of them.
launches = Table(
    "launches",
    metadata,
    Column("marker", String(64), primary_key=True),
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    # Task t of the array is batch `base` + t.
    Column("base", Integer, nullable=False),
    Column("tasks", Text, nullable=False),
    Column("state", String(16), nullable=False),  # intended | accepted | refused | lost
    Column("intended_at", Float, nullable=False),
    Column("uid", BigInteger),
    Column("array_job_id", BigInteger),
    # Since when SLURM has shown no trace of it, looked at again and again without a break.
    Column("absent_since", Float),
    Index("ix_launches_job_id", "job_id"),
)

units = Table(
    "units",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("unit_index", Integer, primary_key=True, autoincrement=False),
    Column("arguments", Text, nullable=False),
    # From here on a row shows the unit's latest attempt.
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("batch_index", Integer, nullable=False),
    Column("state", String(16), nullable=False, server_default="waiting"),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("reason", Text),
    Column("output", Text),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("peak_memory_bytes", BigInteger),
    Column("cpu_seconds", Float),
    Column("log_slot", Integer),
    Column("log_from", BigInteger),
    Column("log_to", BigInteger),
    Index("ix_units_job_id_state", "job_id", "state", "unit_index"),
    Index("ix_units_batch", "job_id", "batch_index", "unit_index"),
)

# Attempts that another one followed; the latest is in the unit's row.
attempts = Table(
    "attempts",
    metadata,
    Column("job_id", Id, primary_key=True),
    Column("unit_index", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("batch_index", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("reason", Text),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("peak_memory_bytes", BigInteger),
    Column("cpu_seconds", Float),
    Column("log_slot", Integer),
    Column("log_from", BigInteger),
    Column("log_to", BigInteger),
    ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
)

events = Table(
    "events",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    # Given after the commit, in one order for all jobs: who has seen position n has missed nothing before it.
    Column("position", BigInteger, unique=True),
    Column("owner", Text, nullable=False),
    Column("type", String(16), nullable=False),
    Column("data", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index(
        "ix_events_unpositioned",
        "job_id",
        postgresql_where=text("position IS NULL"),
        sqlite_where=text("position IS NULL"),
    ),
)

stream = Table(
    "stream",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last_position", BigInteger, nullable=False),
)

profile_holds = Table(
    "profile_holds",
    metadata,
    Column("profile_id", Text, primary_key=True),
    Column("resource_id", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("state", String(16), nullable=False),  # held | releasing
)

environments = Table(
    "environments",
    metadata,
    Column("id", Id, primary_key=True),
    Column("state", String(16), nullable=False),
    # Which state an activity that did nothing leaves it in.
    Column("state_before", String(16)),
    Column("source", String(16), nullable=False),
    Column("package", Text, nullable=False),
    Column("version", Text),
    Column("owner", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("profile_id", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    # The request without its file, what the builder was asked, and what it answered.
    Column("request", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("built", Text),
    Column("disk_bytes", BigInteger),
    Column("reason", Text),
    Column("activity_id", Id, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    # What makes two requests ask for the same thing; None once nobody is to be given this one for it.
    Column("identity", String(64), unique=True),
    Column("idempotency_key", Text),
    Column("body_sha256", String(64)),
    UniqueConstraint("key_id", "idempotency_key"),
    Index("ix_environments_resource_id", "resource_id", "id"),
    Index("ix_environments_profile_id", "profile_id"),
    Index("ix_environments_activity_id", "activity_id"),
)

# A wheel or an archive, until its environment is made: the resource keeps what it can be made of again.
environment_files = Table(
    "environment_files",
    metadata,
    Column("environment_id", Id, ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Id, primary_key=True),
    Column("environment_id", Id, ForeignKey("environments.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("type", String(32), nullable=False),
    Column("description", Text, nullable=False),
    # What is searched: name, package, category, modality, tags and documentation, in lower case.
    Column("words", Text, nullable=False),
    UniqueConstraint("environment_id", "name"),
)
