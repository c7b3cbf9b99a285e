"""Schemathesis against a service that is being served: what its document promises holds."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

# positive_data_acceptance: no schema says that a target is at most its maximum, or a name unique.
# ignored_auth stays on: what needs a key must refuse without one.
EXCLUDED_CHECKS = "positive_data_acceptance"

USERS_EXAMPLES = 5
"""Of each operation, as a user: most of them end at what a user may do."""

_ANYTHING = "checks.negative_data_rejection.enabled = false\n"


def created(url: str, key: str, body: Any) -> dict[str, Any]:
    """What a call makes."""
    answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    assert answer.is_success, answer.text
    content: dict[str, Any] = answer.json()
    return content


def user_key(registry_url: str, key: str, *profile_ids: str) -> str:
    """The key of a user to whom these profiles are granted."""
    body = {"name": "user", "role": "user", "profile_ids": profile_ids}
    return str(created(f"{registry_url}/v1/access-keys", key, body)["key"])


def check_document(
    url: str,
    key: str,
    folder: Path,
    *,
    max_examples: int,
    exclude_operations: Sequence[str] = (),
    lenient_operations: Sequence[str] = (),
) -> None:
    """Run it with a bounded number of examples per operation; its report is the failure's message.

    `lenient_operations` (`POST /path`) take more than the document says, on purpose.
    """
    lenient = [f"[[operations]]\ninclude-name = {name!r}\n{_ANYTHING}" for name in lenient_operations]
    (folder / "schemathesis.toml").write_text("\n".join(lenient))
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/schema/openapi.json"]
    command += ["--header", f"Authorization: Bearer {key}", "--max-examples", str(max_examples)]
    command += ["--checks", "all", "--exclude-checks", EXCLUDED_CHECKS, "--suppress-health-check", "all"]
    command += ["--seed", "20261124", "--no-color", "--warnings", "off"]
    for operation in exclude_operations:
        command += ["--exclude-operation-id", operation]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    generated = re.search(r"\b([0-9]+) generated", done.stdout)
    assert generated is not None, done.stdout
    assert int(generated[1]) > 0
