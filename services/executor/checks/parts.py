"""This room put together."""

from services.executor.checks.profile import ProfileCheck
from services.executor.checks.trial import Trial
from services.executor.jobs.parts import Jobs
from services.executor.resources.parts import Resources
from services.executor.settings import ExecutorSettings
from shared.service.bus import Bus


def profile_check(
    settings: ExecutorSettings, bus: Bus, resources: Resources, jobs: Jobs, cpu_count: int
) -> ProfileCheck:
    """Is a profile usable?"""
    return ProfileCheck(
        profiles=resources.profiles,
        bus=bus,
        opener=resources.opener,
        agent_file=settings.agent_file,
        resource_types=settings.resource_types,
        cpu_count=cpu_count,
        trial=Trial(jobs.admission, jobs.catalogue, jobs.cancellation, jobs.removal),
        trouble=resources.reachability.trouble,
    )
