"""What stands around each request: the gate and problems of `shared.service.web`, beside Litestar's own parts.

`python bench/web.py [--quick]` serves the same two handlers (one answers bytes, one raises NotFound) in three ways,
each in a process of its own, and asks them in turns over loopback: bare, behind the gate, and with what Litestar
brings for the same (authentication, Prometheus and logging middleware, the plugin for problem details; a middleware
for the request id, which it lacks). Prints the server's CPU time per request, and what a path that does not exist
answers without a key.
"""

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import uvicorn
from litestar import Litestar, MediaType, Response, get
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.logging.config import StructLoggingConfig
from litestar.middleware import ASGIMiddleware
from litestar.middleware.authentication import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.middleware.logging import LoggingMiddlewareConfig
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsException, ProblemDetailsPlugin
from litestar.plugins.prometheus import PrometheusConfig
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from shared.service.logs import configure_logging
from shared.service.settings import ServiceSettings
from shared.service.web.access.callers import presented_key
from shared.service.web.application import build_application
from stoker.contracts.keys import Caller
from stoker.errors import NotFound
from stoker.request_ids import accepted_request_id, current_request_id, new_request_id

RESULTS = Path(__file__).parent / "results" / "web.json"
WAYS = ("bare", "gate", "litestar")
KEY = "stk_" + "k" * 40
BODY = json.dumps({"id": "01k5qj6y2z4e8m3n7p9r1s5t0v", "state": "running", "counts": {"waiting": 3}}).encode()
CALLER = Caller(key_id="01k5qj6y2z4e8m3n7p9r1s5t0w", owner="group", role="admin")


@get("/v1/things/{thing:str}")
async def read(thing: str) -> Response[bytes]:
    """Answer."""
    if thing == "absent":
        raise NotFound(f"there is no thing {thing!r}")
    return Response(BODY, media_type=MediaType.JSON)


class Verifier:
    """Knows one key."""

    look_again_seconds = 60.0

    async def verify(self, key: str) -> Caller | None:
        """Return who has it."""
        return CALLER if key == KEY else None

    async def still_valid(self, key: str) -> bool:
        """Say whether it is."""
        return key == KEY


class Authentication(AbstractAuthenticationMiddleware):
    """The same in Litestar's way."""

    async def authenticate_request(self, connection: ASGIConnection) -> AuthenticationResult:
        """Return who calls."""
        key = presented_key(connection.headers.get("authorization", "").encode())
        caller = await Verifier().verify(key) if key else None
        if caller is None:
            raise NotAuthorizedException("send Authorization: Bearer KEY")
        return AuthenticationResult(user=caller, auth=key)


class RequestId(ASGIMiddleware):
    """Litestar brings none."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Take the caller's or make one."""
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = accepted_request_id(given.decode("latin-1") if given else None) or new_request_id()
        token = current_request_id.set(request_id)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await next_app(scope, receive, answer)
        finally:
            current_request_id.reset(token)


def application(way: str) -> Litestar:
    """The handlers, with what stands around them."""
    if way == "bare":
        return Litestar([read], openapi_config=None, logging_config=None, exception_handlers={NotFound: _plain})
    if way == "gate":
        configure_logging(service="bench")
        return build_application(
            service="bench", settings=ServiceSettings(), route_handlers=[read], verifier=Verifier(), readiness={}
        )
    problems = ProblemDetailsConfig(
        enable_for_all_http_exceptions=True,
        exception_to_problem_detail_map={
            NotFound: lambda error: ProblemDetailsException(
                status_code=404,
                type_="urn:stoker:problem:not-found",
                title="There is no such thing",
                detail=error.message,
            )
        },
    )
    logging = LoggingMiddlewareConfig(request_log_fields=("method", "path"), response_log_fields=("status_code",))
    return Litestar(
        [read],
        openapi_config=None,
        middleware=[RequestId(), PrometheusConfig(group_path=True).middleware, logging.middleware, Authentication],
        plugins=[ProblemDetailsPlugin(problems)],
        logging_config=StructLoggingConfig(),
    )


def _plain(_: Any, error: Exception) -> Response[bytes]:
    return Response(str(error).encode(), status_code=404)


def serve(way: str, port: int) -> None:
    """Serve until killed."""
    uvicorn.run(application(way), host="127.0.0.1", port=port, log_config=None, access_log=False)


@contextlib.contextmanager
def served(way: str, port: int) -> Iterator[int]:
    """A server in a process of its own; its pid."""
    process = subprocess.Popen([sys.executable, __file__, "--serve", way, str(port)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, f"{way} cannot be served"
            with contextlib.suppress(OSError):
                http.client.HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/")
                break
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """What the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(port: int, path: str, times: int, key: str | None = KEY) -> int:
    """Ask over one connection; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    status = 0
    for _ in range(times):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    connection.close()
    return status


def main() -> None:
    """Measure and print."""
    rounds, times = (2, 300) if "--quick" in sys.argv else (7, 2000)
    with contextlib.ExitStack() as stack:
        ports = {way: free_port() for way in WAYS}
        pids = {way: stack.enter_context(served(way, port)) for way, port in ports.items()}
        found: dict[str, Any] = {
            way: {"without_a_key": asked(ports[way], "/v1/nowhere", 1, None), "answer": [], "problem": []}
            for way in WAYS
        }
        for way in WAYS:
            assert asked(ports[way], "/v1/things/one", 200) == 200, way
            assert asked(ports[way], "/v1/things/absent", 200) == 404, way
        for _ in range(rounds):
            for what, path in (("answer", "/v1/things/one"), ("problem", "/v1/things/absent")):
                for way in WAYS:
                    before = cpu_seconds(pids[way])
                    asked(ports[way], path, times)
                    found[way][what].append(1e6 * (cpu_seconds(pids[way]) - before) / times)
    print(f"{'':10}{'answer':>10}{'problem':>10}   CPU of the server per request, µs, median of {rounds}")
    for way in WAYS:
        one = found[way]
        middle = {what: round(statistics.median(one[what])) for what in ("answer", "problem")}
        print(
            f"{way:10}{middle['answer']:10}{middle['problem']:10}   without a key, a path that is not there: "
            f"{one['without_a_key']}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        main()
