"""What the clients of all services share: one connection pool, one way to ask, one way to understand the answer.

Keys are sent as bearer tokens and never appear in a repr or an error. Proxies of the environment are not used: a key
goes to the address that was given, and nowhere else.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx
import msgspec

from stoker.clients.answers import raise_for_problem
from stoker.clients.retries import repeated
from stoker.contracts.pages import Page
from stoker.errors import Invalid, Unauthorized, Unavailable
from stoker.request_ids import REQUEST_ID_HEADER, current_request_id
from stoker.secrets import Secret

T = TypeVar("T")
C = TypeVar("C", bound="ServiceClient")

Parameters = Mapping[str, str | int | bool | None]

# Shorter than the five seconds for which servers keep an idle connection, so that both ends never race for one.
_KEEPALIVE_SECONDS = 3.0


class ServiceClient:
    """Base of the clients: use it with `async with`, or call `aclose()`. Safe for concurrent use in one event loop.

    `url` is the service's address (a path prefix is kept), `key` an access key. A call that gets no answer within
    `timeout_seconds` raises Unavailable; what is safe to repeat is asked up to `attempts` times. `own_key` is where a
    service has its own key from: that it is refused is no fault of the service's callers, and is Unavailable too.
    """

    service = "service"

    def __init__(
        self,
        url: str,
        key: str | Secret | None,
        *,
        timeout_seconds: float = 10.0,
        attempts: int = 3,
        own_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise Invalid(f"the address of the {self.service} must begin with http:// or https://, not {url!r}")
        self._attempts = attempts
        self._own_key = own_key
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=_authorization(key),
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=50, keepalive_expiry=_KEEPALIVE_SECONDS),
            verify=_trust(self.url),
            trust_env=False,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ready(self) -> bool:
        """Whether the service says that it is ready (`/health/ready`); False also when it does not answer."""
        try:
            answer = await self._http.get("/health/ready")
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    async def _get(self, path: str, kind: type[T], query: Parameters | None = None) -> T:
        return await self._ask("GET", path, kind, query=query, repeatable=True)

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: object = None,
        query: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
        timeout_seconds: float | None = None,
    ) -> T:
        """Ask, and return the answer as `kind`."""
        content = await self._call(
            method,
            path,
            body=body,
            query=query,
            headers=headers,
            repeatable=repeatable,
            timeout_seconds=timeout_seconds,
        )
        try:
            answer: T = _decoder(cast("Hashable", kind)).decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"the {self.service} gave an answer that is not understood: {error}") from error
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
        timeout_seconds: float | None = None,
    ) -> bytes:
        """Ask, and return the answer's body. `repeatable`: a call whose answer got lost may be sent again."""
        request = self._http.build_request(
            method,
            path,
            content=msgspec.json.encode(body) if body is not None else None,
            params=_written(query),
            headers=_headers(headers, has_body=body is not None),
            timeout=self._timeout_seconds if timeout_seconds is None else timeout_seconds,
        )
        return await repeated(partial(self._send, request), attempts=self._attempts, repeatable=repeatable)

    async def _send(self, request: httpx.Request) -> bytes:
        with self._translated():
            answer = await self._http.send(request)
        self._raise_for_problem(answer, answer.content)
        return answer.content

    @asynccontextmanager
    async def _stream(
        self,
        path: str,
        *,
        query: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        silence_seconds: float | None = None,
    ) -> AsyncGenerator[httpx.Response]:
        """Open an answer of any length. More than `silence_seconds` without a byte raises Unavailable."""
        timeout = httpx.Timeout(self._timeout_seconds, read=silence_seconds)
        with self._translated():
            async with self._http.stream(
                "GET", path, params=_written(query), headers=_headers(headers, has_body=False), timeout=timeout
            ) as answer:
                if not answer.is_success:
                    content = await answer.aread()
                    self._raise_for_problem(answer, content)
                yield answer

    async def _every(self, path: str, kind: type[T], query: Parameters | None = None) -> AsyncIterator[T]:
        """Every item behind a list, page by page."""
        cursor: str | None = None
        while True:
            page: Page[T] = await self._get(path, Page[kind], {**(query or {}), "cursor": cursor})  # type: ignore[valid-type]
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    def _raise_for_problem(self, answer: httpx.Response, content: bytes) -> None:
        try:
            raise_for_problem(self.service, answer.status_code, answer.headers, content)
        except Unauthorized as error:
            if self._own_key is None:
                raise
            words = f"{error.message}: it is this service's own, in {self._own_key}, and was revoked or has expired"
            raise Unavailable(words) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            words = f"the {self.service} at {self.url} does not answer: {_words(error)}"
            raise Unavailable(words, sent=False) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"the {self.service} at {self.url} did not answer in time") from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise Unavailable(f"the connection to the {self.service} at {self.url} broke: {_words(error)}") from error


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("type[Any]", kind))


def _authorization(key: str | Secret | None) -> dict[str, str]:
    if key is None:
        return {}
    text = key.reveal() if isinstance(key, Secret) else key
    if not text.isascii() or not text.isprintable() or " " in text:  # the text itself must not reach a message
        raise Invalid("the access key has characters that no access key has")
    return {"Authorization": f"Bearer {text}"}


def _trust(url: str) -> ssl.SSLContext:
    # Loading certificates takes longer than a call; where no TLS is spoken, a context that trusts nobody will do.
    return ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _headers(extra: Mapping[str, str] | None, *, has_body: bool) -> dict[str, str]:
    headers = dict(extra or {})
    if has_body:
        headers.setdefault("Content-Type", "application/json")
    if request_id := current_request_id.get():
        headers[REQUEST_ID_HEADER] = request_id
    return headers


def _written(query: Parameters | None) -> dict[str, str]:
    written = {name: value for name, value in (query or {}).items() if value is not None and value != ""}
    return {n: ("true" if v else "false") if isinstance(v, bool) else str(v) for n, v in written.items()}


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
