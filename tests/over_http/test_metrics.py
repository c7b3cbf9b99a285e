"""The sample dashboard and the alert rules look at what the services really say."""

import re
import urllib.request
from pathlib import Path

from tests.over_http.address import StackAddress

SAMPLES = Path(__file__).parents[2] / "docs" / "grafana"
_NAME = re.compile(r"\b((?:stoker|process)_\w+)")


def test_every_metric_of_the_samples_exists(address: StackAddress) -> None:
    said = set()
    for url in (address.registry_url, address.executor_url, address.poller_url):
        request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {address.key}"})  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            said |= set(_NAME.findall(answer.read().decode()))
    for sample in ("dashboard.json", "alerts.yml"):
        wanted = set(_NAME.findall((SAMPLES / sample).read_text()))
        assert len(wanted) > 5, sample
        assert wanted <= said, sample
