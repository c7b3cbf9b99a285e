"""What the poller counts; rendered with the HTTP metrics at `/metrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class PollerMetrics:
    """A registry of its own, handed to the application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.watch_list_requests = Counter(
            "stoker_poller_watch_list_requests",
            "Times the executor was asked for its watch list",
            ("outcome",),
            registry=self.registry,
        )
        self.follows = Counter(
            "stoker_poller_follows", "Times following a profile's files was begun", registry=self.registry
        )
        self.sightings = Counter(
            "stoker_poller_sightings", "Times a followed batch was seen to have changed", registry=self.registry
        )
        self.rounds = Counter(
            "stoker_poller_rounds", "Times a resource's poll interval came around", registry=self.registry
        )
        self.observations = Counter(
            "stoker_poller_observations", "Differences that were published", registry=self.registry
        )
        self.messages = Counter(
            "stoker_poller_messages", "Messages given to Redis", ("channel", "outcome"), registry=self.registry
        )
        self.scheduler_calls = Counter(
            "stoker_poller_scheduler_calls",
            "Times a resource's scheduler was asked (kind: queue, cluster)",
            ("resource_id", "kind", "outcome"),
            registry=self.registry,
        )
        self.scheduler_seconds = Histogram(
            "stoker_poller_scheduler_call_seconds",
            "How long a resource's scheduler took to answer, or not to",
            ("resource_id", "kind"),
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=self.registry,
        )
        self.watched_batches = Gauge(
            "stoker_poller_watched_batches", "Batches on the watch list", registry=self.registry
        )
