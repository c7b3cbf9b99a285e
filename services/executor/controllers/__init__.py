"""The HTTP interface: each module the handlers of one noun, which only translate."""

from services.executor.controllers.activities import ActivitiesController, list_tasks
from services.executor.controllers.downloads import DownloadsController
from services.executor.controllers.environments import EnvironmentsController
from services.executor.controllers.events import EventsController
from services.executor.controllers.host_keys import HostKeysController
from services.executor.controllers.jobs import JobsController
from services.executor.controllers.operations import check, read_usage, read_watch_list
from services.executor.controllers.units import UnitsController

HANDLERS = (
    JobsController,
    UnitsController,
    DownloadsController,
    EventsController,
    HostKeysController,
    EnvironmentsController,
    ActivitiesController,
    list_tasks,
    read_watch_list,
    check,
    read_usage,
)
