"""Telling the others: differences and health, over the bus. A message that is lost is said again later."""

import msgspec

from services.poller.metrics import PollerMetrics
from shared.service.bus import Bus
from shared.service.logs import get_logger
from stoker.contracts.watches import HEALTH_CHANNEL, OBSERVATIONS_CHANNEL, Observation, Observations, ResourceHealth
from stoker.errors import Unavailable

MAX_OBSERVATIONS_PER_MESSAGE = 500
log = get_logger()


class Publisher:
    """Never raises for a Redis that is away: callers come back every interval anyway."""

    def __init__(self, bus: Bus, *, poller_id: str, metrics: PollerMetrics) -> None:
        self._bus = bus
        self._poller_id = poller_id
        self._metrics = metrics
        self._encoder = msgspec.json.Encoder()
        self._was_away = False

    async def observations(self, observations: list[Observation]) -> None:
        """Publish differences."""
        for start in range(0, len(observations), MAX_OBSERVATIONS_PER_MESSAGE):
            part = observations[start : start + MAX_OBSERVATIONS_PER_MESSAGE]
            if not await self._publish(
                OBSERVATIONS_CHANNEL, Observations(poller_id=self._poller_id, observations=part)
            ):
                return
            self._metrics.observations.inc(len(part))

    async def health(self, health: ResourceHealth) -> None:
        """Publish how one profile's connection is doing."""
        await self._publish(HEALTH_CHANNEL, health)

    async def _publish(self, channel: str, message: msgspec.Struct) -> bool:
        try:
            await self._bus.publish(channel, self._encoder.encode(message))
        except Unavailable as error:
            self._metrics.messages.labels(channel, "failed").inc()
            if not self._was_away:
                log.warning("the bus is away", error=error.message)
            self._was_away = True
            return False
        self._metrics.messages.labels(channel, "sent").inc()
        if self._was_away:
            log.info("the bus is back")
        self._was_away = False
        return True
