"""What every service's HTTP application does, shown on a small one."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, RawBody, SkipValidation

from shared.service.settings import ServiceSettings
from shared.service.web.access.callers import admins_only
from shared.service.web.application import build_application
from shared.service.web.bodies.content_types import accepts
from shared.service.web.bodies.decoding import decode_body
from shared.service.web.cursors import decode_cursor, encode_cursor
from shared.service.web.etags import expected_versions
from stoker.contracts.keys import AccessKeyCreate, Caller
from stoker.contracts.pages import Page
from stoker.contracts.problems import FieldError
from stoker.errors import Conflict, Invalid, NotFound, Unavailable
from tests.workshop.registry import slug, wrong_paths

pytestmark = pytest.mark.anyio

RAISED = {
    "invalid": (Invalid("no", [FieldError("a.b", "must be c")]), 422, "invalid-request"),
    "reused": (Invalid("no", slug="idempotency-key-reused"), 422, "idempotency-key-reused"),
    "malformed": (Invalid("no", slug="malformed-body"), 400, "malformed-body"),
    "missing": (NotFound("no such job"), 404, "not-found"),
    "conflict": (Conflict("not now"), 409, "conflict"),
    "prevented": (Conflict("not now", slug="submissions-prevented"), 409, "submissions-prevented"),
    "unknown": (Conflict("not now", slug="some-new-kind"), 409, "some-new-kind"),
    "away": (Unavailable("the registry does not answer", retry_after_seconds=7), 503, "unavailable"),
    "bug": (RuntimeError("secret detail"), 500, "internal"),
}


class Keys:
    """One key per role; `away` stands for a registry that does not answer."""

    look_again_seconds = 60.0

    async def verify(self, key: str) -> Caller | None:
        if key == "away":
            raise Unavailable("the registry does not answer")
        return Caller(key_id=key, role=key, owner="me") if key in {"admin", "user"} else None  # type: ignore[arg-type]

    async def still_valid(self, key: str) -> bool:
        return await self.verify(key) is not None


@get("/v1/raise/{kind:str}")
async def raise_it(kind: FromPath[str]) -> None:
    raise RAISED[kind][0]


@get("/v1/things/{thing_id:str}")
async def thing(
    thing_id: FromPath[str], caller: NamedDependency[SkipValidation[Caller]], limit: FromQuery[int] = 1
) -> dict[str, str]:
    return {"id": thing_id, "caller": caller.key_id, "limit": str(limit)}


@post("/v1/things", guards=[admins_only], opt=accepts(AccessKeyCreate))
async def make(body: RawBody) -> AccessKeyCreate:
    return decode_body(body, AccessKeyCreate)


class Needed:
    """Something that a service needs, which can fail in several ways."""

    failure: Exception | None = None
    stuck = False

    async def check(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure


def application(needed: Needed | None = None) -> Litestar:
    return build_application(
        service="example",
        settings=ServiceSettings(),
        route_handlers=[raise_it, thing, make],
        verifier=Keys(),
        readiness={"thing": (needed or Needed()).check},
        max_body_bytes=1000,
    )


@asynccontextmanager
async def calling(app: Litestar, key: str | None = "admin") -> AsyncIterator[httpx.AsyncClient]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://example", headers=headers) as client,
    ):
        yield client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with calling(application()) as made:
        yield made


@pytest.mark.parametrize("kind", RAISED)
async def test_errors_from_below_become_problems(client: httpx.AsyncClient, kind: str) -> None:
    error, status, expected = RAISED[kind]
    answer = await client.get(f"/v1/raise/{kind}", headers={"X-Request-ID": "abc"})
    assert (answer.status_code, slug(answer)) == (status, expected)
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["X-Request-ID"] == "abc"
    assert body["instance"] == f"/v1/raise/{kind}"
    if kind == "bug":
        assert "secret" not in answer.text
    else:
        assert body["detail"] == str(error)
    assert ("Retry-After" in answer.headers) == (kind == "away")
    assert body.get("errors", []) == ([{"path": "a.b", "message": "must be c"}] if kind == "invalid" else [])


async def test_a_failure_nobody_foresaw_is_logged_with_its_traceback(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    await client.get("/v1/raise/bug")
    logged = capfd.readouterr().out
    assert "RuntimeError: secret detail" in logged
    assert "raise_it" in logged


async def test_what_the_framework_refuses_is_a_problem_too(client: httpx.AsyncClient) -> None:
    assert slug(await client.get("/nothing/here")) == "not-found"
    wrong = await client.delete("/v1/things")
    assert (wrong.status_code, slug(wrong)) == (405, "method-not-allowed")
    assert set(wrong.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    options = await client.request("OPTIONS", "/v1/things/5")
    assert (options.status_code, options.headers["Allow"]) == (204, "GET, OPTIONS")
    assert "query.limit" in wrong_paths(await client.get("/v1/things/5?limit=x"))
    large = await client.post("/v1/things", content=b"x" * 2000, headers={"Content-Type": "application/json"})
    assert (large.status_code, slug(large)) == (413, "payload-too-large")
    form = await client.post("/v1/things", data={"a": "b"})
    assert (form.status_code, slug(form)) == (415, "unsupported-media-type")


async def test_json_is_json_with_any_parameters_of_the_type(client: httpx.AsyncClient) -> None:
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        answer = await client.post("/v1/things", content=b'{"name": "x"}', headers={"Content-Type": kind})
        assert answer.status_code == 201, answer.text


async def test_a_request_id_is_taken_over_when_it_is_well_formed_or_made(client: httpx.AsyncClient) -> None:
    taken = await client.get("/v1/things/5", headers={"X-Request-ID": "A.b_c-1"})
    assert taken.headers["X-Request-ID"] == "A.b_c-1"
    for bad in ("with space", "x" * 65, "a;b", ""):
        made = await client.get("/v1/things/5", headers={"X-Request-ID": bad})
        assert re.fullmatch("[0-9a-f]{16,}", made.headers["X-Request-ID"])


async def test_roles_are_kept_apart() -> None:
    app = application()
    async with calling(app, "user") as user:
        assert (await user.get("/v1/things/5")).json()["caller"] == "user"
        refused = await user.post("/v1/things", json={"name": "x"})
        assert (refused.status_code, slug(refused)) == (403, "forbidden")
        assert "admin" in refused.json()["detail"]
    async with calling(app, "nobody") as nobody:
        assert (await nobody.get("/v1/things/5")).status_code == 401
    async with calling(app, "away") as unverified:
        answer = await unverified.get("/v1/things/5")
        assert (answer.status_code, slug(answer), answer.headers["Retry-After"]) == (503, "unavailable", "1")


async def test_readiness_says_what_is_wrong_and_liveness_does_not_care() -> None:
    needed = Needed()
    async with calling(application(needed), None) as anybody:
        assert (await anybody.get("/health/ready")).json() == {
            "status": "ready",
            "service": "example",
            "checks": {"thing": "ok"},
        }
        needed.failure = Unavailable("the thing does not answer")
        answer = await anybody.get("/health/ready")
        assert (answer.status_code, answer.json()["checks"]) == (503, {"thing": "the thing does not answer"})
        needed.failure = RuntimeError("secret detail")
        assert (await anybody.get("/health/ready")).json()["checks"] == {"thing": "failed; see the log"}
        needed.stuck = True
        assert "no answer within" in (await anybody.get("/health/ready")).json()["checks"]["thing"]
        assert (await anybody.get("/health/live")).json()["status"] == "alive"


async def test_metrics_count_by_route_and_never_by_path(client: httpx.AsyncClient) -> None:
    for number in range(3):
        await client.get(f"/v1/things/id-{number}")
        await client.get(f"/no/such/{number}")
    text = (await client.get("/metrics")).text
    assert 'stoker_http_requests_total{method="GET",route="/v1/things/{thing_id}",status="200"} 3.0' in text
    assert 'route="(none)",status="404"} 3.0' in text
    assert "id-1" not in text
    assert "process_resident_memory_bytes" in text


async def test_the_page_needs_nothing_from_outside(client: httpx.AsyncClient) -> None:
    page = await client.get("/schema")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="([^"]*)"', page.text) + re.findall(r'new URL\("([^"]*)"', page.text)
    assert links.pop(0) == "data:,"  # no icon, and none is asked for
    assert len(links) == 3
    for link in links:
        assert not re.match(r"[a-z]+:|//|/", link), link
        answer = await client.get(f"/{link}")
        assert answer.status_code == 200
        assert answer.content
    assert "http" not in page.text
    # Versions before 5 show nothing but an error for an OpenAPI document of our version.
    script = (await client.get("/schema/assets/swagger_bundle.js")).text
    assert "isOAS31" in script
    # A browser does not fetch from an address with a key in it, as that of the page may be.
    assert "location.origin + location.pathname" in page.text
    assert (await client.get("/schema/assets/..%2f..%2fsecret")).status_code == 404
    assert (await client.get("/schema/assets/index.html")).status_code == 404
    assert slug(await client.get("/schema/swagger")) == "not-found"


async def test_the_document_describes_bodies_answers_and_problems(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    operation = document["paths"]["/v1/things"]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert schema["additionalProperties"] is False
    assert set(operation["responses"]) == {"201", "400", "401", "403", "409", "413", "415", "422", "500", "503"}
    for status, response in operation["responses"].items():
        if status != "201":
            assert list(response["content"]) == ["application/problem+json"]
    assert document["paths"]["/health/live"]["get"]["security"] == []
    assert "/schema" not in json.dumps(list(document["paths"]))


def test_cursors_come_back_and_made_up_ones_are_refused() -> None:
    assert decode_cursor(encode_cursor(["a", 3]), list) == ["a", 3]
    assert decode_cursor(None, str) is None
    for wrong in ("", "%%", "é", "AAAA", encode_cursor(5), encode_cursor("a")[:-1] + "!"):
        with pytest.raises(Invalid):
            decode_cursor(wrong, str)


def test_versions_that_if_match_accepts() -> None:
    assert expected_versions(None) is None
    assert expected_versions(" * ") is None
    assert expected_versions('"1", "2"') == frozenset({"1", "2"})
    assert not expected_versions('W/"1", 2, "')


def test_a_page_says_where_the_next_begins() -> None:
    assert Page([1]).next_cursor is None
